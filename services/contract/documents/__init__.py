"""The text of documents that others wrote: pdf, docx, xlsx, pptx, csv, html and plain text, read in a bounded process."""

from services.contract.documents.model import Document, Limits, Status, Window
from services.contract.documents.reading import read_bytes, read_file, read_files

__all__ = ["Document", "Limits", "Status", "Window", "read_bytes", "read_file", "read_files"]
