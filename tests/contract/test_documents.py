"""Documents of others are read within bounds, or reported as unreadable; nothing is dropped and nothing raises."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pptx.util import Inches

from services.contract.documents import Document, Limits, Status, Window, read_bytes, read_file, read_files
from services.contract.documents.kinds import kind_of, media_type_of
from services.contract.documents.model import Order
from services.contract.documents.worker import extract


def pdf(*pages: str) -> bytes:
    """A small pdf, a line of text on each page."""
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {4 + 2 * number} 0 R "
            f"/Resources << /Font << /F1 {font} >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return body + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def word() -> bytes:
    document = docx.Document()
    document.add_paragraph("Dear client,")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Revenue", "12.5"
    document.add_paragraph("Yours")
    return saved(document)


def workbook(rows: int = 3) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Plan"
    for number in range(1, rows + 1):
        sheet.append([f"row {number}", number, None])
    hidden = book.create_sheet("Keys")
    hidden.append(["secret"])
    hidden.sheet_state = "hidden"
    return saved(book)


def slides(*titles: str) -> bytes:
    presentation = pptx.Presentation()
    for title in titles:
        slide = presentation.slides.add_slide(presentation.slide_layouts[5])
        slide.shapes.title.text = title
        cell = slide.shapes.add_table(1, 1, Inches(1), Inches(1), Inches(2), Inches(1)).table.cell(0, 0)
        cell.text = "cell of " + title
        slide.notes_slide.notes_text_frame.text = "say " + title
    return saved(presentation)


def saved(thing: object) -> bytes:
    kept = io.BytesIO()
    thing.save(kept)  # type: ignore[attr-defined] # three libraries without types, one method
    return kept.getvalue()


def packed_again(content: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """An office file with one of its parts changed."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            new.writestr(part, change(old.read(part)) if part == name else old.read(part))
    return kept.getvalue()


def read(content: bytes, name: str, window: Window | None = None, **limits: float) -> Document:
    return read_bytes(content, name=name, window=window or Window(), limits=Limits.model_validate(limits))


class TestFormats:
    def test_pdf_is_read_page_by_page(self) -> None:
        document = read(pdf("one", "two"), "a.pdf")

        assert document.status is Status.READ
        assert (document.text, document.pages) == ("[page 1]\none\n\n[page 2]\ntwo", 2)

    def test_a_pdf_without_text_says_that_it_may_be_scanned(self) -> None:
        document = read(pdf(""), "a.pdf")

        assert document.notes == ("no text in these pages; they may be scanned",)

    def test_word_keeps_paragraphs_and_tables_in_order(self) -> None:
        assert read(word(), "a.docx").text == "Dear client,\nRevenue\t12.5\nYours"

    def test_word_gives_what_stands_in_controls_boxes_insertions_and_inner_tables(self) -> None:
        document = docx.Document()
        document.add_table(1, 2).cell(0, 0).add_table(1, 1).cell(0, 0).text = "inner"
        content = packed_again(
            saved(document),
            "word/document.xml",
            lambda part: part.replace(
                b"<w:sectPr",
                b"<w:sdt><w:sdtContent><w:p><w:r><w:t>control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
                b"<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:ins><w:r><w:t>inserted</w:t></w:r></w:ins>"
                b"<w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
                b"<w:moveFrom><w:r><w:t>moved away</w:t></w:r></w:moveFrom></w:p>"
                b"<w:p><w:r><w:txbxContent><w:p><w:r><w:t>in a box</w:t></w:r></w:p></w:txbxContent></w:r></w:p>"
                b"<w:sectPr",
                1,
            ),
        )

        assert read(content, "a.docx").text.split() == ["inner", "control", "inserted", "in", "a", "box"]

    def test_a_cell_of_word_that_claims_a_billion_columns_is_one_cell(self) -> None:
        content = packed_again(
            word(),
            "word/document.xml",
            lambda part: part.replace(b"<w:tcPr>", b'<w:tcPr><w:gridSpan w:val="1000000000"/>'),
        )

        assert read(content, "a.docx").text == "Dear client,\nRevenue\t12.5\nYours"

    def test_formulas_without_a_stored_value_are_shown_and_counted(self) -> None:
        book = openpyxl.Workbook()
        book.active.append([2, 3, "=A1+B1"])
        book.active.append(["=SUM(A1:C1)"])

        document = read(saved(book), "a.xlsx")

        assert document.text == "[sheet Sheet]\n2\t3\t=A1+B1\n=SUM(A1:C1)"
        assert document.notes == ("sheet 'Sheet': 2 formulas without a stored value stand as formulas",)

    def test_of_a_formula_with_a_stored_value_the_value_is_shown(self) -> None:
        content = packed_again(
            workbook(1),
            "xl/worksheets/sheet1.xml",
            lambda part: part.replace(b"<v>1</v>", b"<f>40+2</f><v>42</v>"),
        )

        document = read(content, "a.xlsx")

        assert document.text.startswith("[sheet Plan]\nrow 1\t42\n")
        assert document.notes == ()

    def test_a_formula_that_nobody_understands_leaves_the_values(self) -> None:
        book = openpyxl.Workbook()
        book.active.append([7])
        book.active.append([8])
        shared = (b'<f t="shared" si="0" ref="A1:A2">"open</f><v>7</v>', b'<f t="shared" si="0"/><v>8</v>')
        content = packed_again(
            saved(book),
            "xl/worksheets/sheet1.xml",
            lambda part: part.replace(b"<v>7</v>", shared[0]).replace(b"<v>8</v>", shared[1]),
        )

        assert read(content, "a.xlsx").text == "[sheet Sheet]\n7\n8"

    def test_sheets_are_named_hidden_ones_marked_and_empty_cells_at_the_end_dropped(self) -> None:
        assert read(workbook(), "a.xlsx").text == (
            "[sheet Plan]\nrow 1\t1\nrow 2\t2\nrow 3\t3\n\n[sheet Keys] (hidden)\nsecret"
        )

    def test_slides_give_text_tables_and_notes(self) -> None:
        document = read(slides("First", "Second"), "a.pptx")

        assert document.pages == 2
        assert document.text.startswith("[slide 1]\nFirst\ncell of First\n(notes) say First\n\n[slide 2]")

    def test_a_page_of_the_web_gives_what_a_reader_sees(self) -> None:
        page = b"<html><head><style>p{}</style></head><body><p>Net&nbsp;income</p><script>evil()</script>"
        page += b"<table><tr><td>a</td><td>1</td></tr></table></body></html>"

        assert read(page, "a.html").text == "Net income\na\t1"

    @pytest.mark.parametrize(
        ("name", "content", "text"),
        [
            ("a.csv", b'x,"y\nz",1\n', "x\ty z\t1"),
            ("a.tsv", b"x\ty\n", "x\ty"),
            ("a.md", "é".encode(), "é"),
            ("a.json", b'{"a": 1}', '{"a": 1}'),
            ("a.txt", "Hä".encode("utf-16"), "Hä"),
            ("notes", b"plain", "plain"),
        ],
    )
    def test_plain_files_are_text(self, name: str, content: bytes, text: str) -> None:
        assert read(content, name).text == text

    def test_another_encoding_is_assumed_aloud(self) -> None:
        document = read(b"caf\xe9", "a.txt")

        assert (document.text, document.notes) == ("café", ("not UTF-8, read as Windows-1252",))

    @pytest.mark.parametrize(("name", "kind"), [("a.png", "image"), ("b.MP3", "audio"), ("c.mp4", "video")])
    def test_images_and_sound_are_listed_not_read(self, name: str, kind: str) -> None:
        document = read(b"\x89PNG", name)

        assert (document.status, document.kind, document.words) == (Status.LISTED, kind, f"{kind}, not read")

    def test_a_hint_or_the_media_type_helps_where_the_name_says_nothing(self) -> None:
        assert read_bytes(pdf("x"), name="download", media_type="application/pdf; q=1").text == "[page 1]\nx"
        assert read_bytes(pdf("x"), name="a.bin", format_hint="pdf").kind == "pdf"
        assert (kind_of("a", head=b"%PDF-1.7"), kind_of("a", head=b"\0\1")) == ("pdf", "unknown")
        assert media_type_of("A.XLSX") == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class TestWindows:
    def test_pages_are_counted_from_one(self) -> None:
        document = read(pdf("one", "two", "three"), "a.pdf", Window(page_start=2, page_limit=1))

        assert document.text == "[page 2]\ntwo"
        assert document.notes == ("from page 2", "pages 3-3 left out")

    def test_a_page_behind_the_last_is_a_fault(self) -> None:
        assert read(pdf("one"), "a.pdf", Window(page_start=5)).fault == "it has 1 pages, page 5 was asked for"

    def test_rows_of_a_sheet_and_of_a_table(self) -> None:
        window = Window(row_offset=1, row_limit=1)

        assert read(workbook(), "a.xlsx", window).text == "[sheet Plan]\nrow 2\t2\n\n[sheet Keys] (hidden)"
        assert read(b"a\nb\nc\n", "a.csv", window).text == "b"
        assert read(b"a\nb\nc\n", "a.txt", window).text == "b"
        assert read(b"a\nb\nc\n", "a.txt", window).notes == ("lines from 3 left out",)

    def test_the_columns_of_a_pdf_stay_in_place_when_tables_are_wanted(self) -> None:
        assert "one" in read(pdf("one"), "a.pdf", Window(extract_tables=True)).text


class TestLimits:
    def test_a_large_file_is_reported_without_being_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"x" * 11)

        document = read_file(tmp_path / "a.txt", limits=Limits(file_bytes=10))

        assert document.words == "unreadable: 11 bytes, at most 10 are read"

    def test_the_files_of_a_task_share_a_limit_and_each_is_reported(self, tmp_path: Path) -> None:
        for name in "abc":
            (tmp_path / name).write_bytes(name.encode() * 6)
        files = [(f"{name}.txt", tmp_path / name) for name in "abc"]

        documents = read_files(files, limits=Limits(task_bytes=13))

        assert [document.status for document in documents] == [Status.READ, Status.READ, Status.UNREADABLE]
        assert documents[2].fault == "the files before it leave 1 of 13 bytes"

    def test_pages_cells_and_characters_are_cut_aloud(self) -> None:
        assert read(pdf("a", "b", "c"), "a.pdf", pages=2).notes == ("pages 3-3 left out",)
        assert read(workbook(rows=9), "a.xlsx", cells=4).notes == (
            "sheet 'Plan' cut: rows from 3 left out, more than 4 cells",
            "sheet 'Keys' left out",
        )
        assert read(b"a,b\nc,d\n", "a.csv", cells=3).notes == ("rows from 2 left out",)
        assert read(b"x" * 9, "a.txt", characters=4).notes == ("cut after 4 characters",)

    def test_a_reader_that_takes_too_long_is_stopped(self) -> None:
        assert read(workbook(), "a.xlsx", timeout_s=0.01).fault == "not read within 0.01 s"

    def test_a_bomb_is_refused_before_it_is_unpacked(self) -> None:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("xl/worksheets/sheet1.xml", b" " * (50 << 20))

        assert read(content.getvalue(), "a.xlsx").fault.startswith("refused: ")

    def test_an_expanding_entity_does_not_expand(self) -> None:
        bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
            f'<!ENTITY {after} "{f"&{before};" * 10}">' for before, after in zip("abcdefgh", "bcdefghi", strict=True)
        )
        clean = io.BytesIO(word())
        content = io.BytesIO()
        with zipfile.ZipFile(clean) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as new:
            for name in old.namelist():
                text = old.read(name).decode("utf-8", "replace")
                changed = name == "word/document.xml"
                head, _, rest = text.partition("?>")
                new.writestr(name, f"{head}?>{bomb}]>{rest.replace('Yours', '&i;')}" if changed else old.read(name))

        document = read(content.getvalue(), "a.docx", timeout_s=20)

        assert len(document.text) < 10_000


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.xlsx", "a.pptx"])
def test_a_file_that_is_not_what_its_name_says_is_reported(name: str) -> None:
    document = read(b"nonsense", name)

    assert document.status is Status.UNREADABLE
    assert document.fault != ""


@pytest.mark.parametrize(
    ("content", "name", "fault"), [(b"", "a.pdf", "it is empty"), (b"\0", "a.xls", "no reader for .xls")]
)
def test_what_cannot_be_read_says_why(content: bytes, name: str, fault: str) -> None:
    assert read(content, name).fault == fault


def test_a_file_that_is_gone_is_reported(tmp_path: Path) -> None:
    assert read_file(tmp_path / "gone.txt").fault == "cannot be opened (No such file or directory)"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=st.binary(max_size=400),
    kind=st.sampled_from(["pdf", "docx", "xlsx", "csv", "html", "text"]),
    cut=st.integers(1, 600),
)
def test_no_bytes_make_a_reader_raise(content: bytes, kind: str, cut: int) -> None:
    order = Order(kind=kind, suffix="", window=Window(), limits=Limits())
    damaged = pdf("some text")[:cut] + content if kind == "pdf" else content

    told = extract(damaged, order)

    assert isinstance(told.text, str)
    assert told.fault == "" or told.text == ""
