"""Values that cross between a program under test and whoever judges it, as tagged JSON.

Standard library only: this file is also loaded inside the cells. Scalars of JSON stand for themselves, everything else is
an array `[tag, *content]`, so one level of value is one level of JSON. Source: code-and-math specification 5, "Values".
"""

from __future__ import annotations

import builtins
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from pydantic import JsonValue

MAX_DEPTH: Final = 100
"""Containers a value may have inside of each other; deeper ones arrive as unencodable."""
MAX_FRACTION_DIGITS: Final = 5_000
"""Hexadecimal digits of numerator and denominator together."""
MAX_FRAME_BYTES: Final = 16 << 20
"""Bytes of JSON a value may take; larger values arrive as unencodable."""

SAFE_INTEGER: Final = 1 << 53
CROWDED: Final = 32
"""Members of a set or dict that may have one hash: each is compared with all of them before it."""


class MalformedValue(ValueError):  # noqa: N818 - the field's word
    """What should be an encoded value is none: its sender is broken or hostile."""


class Unencodable:
    """Stands for a value that cannot cross. Equals nothing, itself included, and is neither true nor false."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} is neither true nor false")

    def __repr__(self) -> str:
        return f"unencodable: {self.type_name}"


def encode(value: object) -> JsonValue:
    """The tagged JSON of `value`; never raises for a value of any type.

    Subclasses are reduced to their base content by the base class's own methods, so an overridden `__eq__`, `__iter__` or
    `__repr__` has no say. What cannot cross becomes `["unencodable", type name]`, alone or inside its container; a value
    above MAX_FRAME_BYTES becomes that as a whole.
    """
    try:
        return _Encoder().encode(value, MAX_DEPTH)
    except _TooLargeError:
        return ["unencodable", "value above the frame limit"]


def decode(encoded: JsonValue) -> Any:  # a value of any type may have crossed
    """The value in plain builtins, with `Unencodable` where one did not cross. Raises MalformedValue."""
    return _decode(encoded, MAX_DEPTH)


class _TooLargeError(Exception):
    pass


class _Encoder:
    """Encodes one value and counts its size, which bounds shared references that would unfold without end."""

    def __init__(self) -> None:
        self.room = MAX_FRAME_BYTES

    def encode(self, value: object, depth: int) -> JsonValue:
        self._spend(2)
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind in _METACLASSES:
            return _encode_type(value)
        for base in _mro(kind):
            if base in _SCALARS:
                return self._scalar(_SCALARS[base](value))
            if base in _CONTAINERS:
                if depth == 0:
                    return ["unencodable", f"{_name(kind)} below {MAX_DEPTH} levels"]
                tag, parts = _CONTAINERS[base]
                self._spend(len(tag))
                return [tag, *[self.encode(part, depth - 1) for part in parts(value)]]
        return ["unencodable", _name(kind)]

    def _scalar(self, encoded: JsonValue) -> JsonValue:
        text = encoded[-1] if isinstance(encoded, list) else encoded
        # A JSON string spends six characters on each that is not ASCII.
        self._spend(len(text) * (1 if text.isascii() else 6) if isinstance(text, str) else 16)
        return encoded

    def _spend(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise _TooLargeError


_mro: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_METACLASSES: Final = frozenset({type})
_BUILTIN_TYPES: Final = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type)} | {
    "NoneType": type(None)
}
_BUILTIN_NAMES: Final = {kind: name for name, kind in _BUILTIN_TYPES.items() if kind.__name__ == name}


def _name(kind: type) -> str:
    """The type's name, even when a metaclass lies about it; shortened."""
    return str(type.__dict__["__name__"].__get__(kind))[:100].encode("ascii", "backslashreplace").decode()


def _encode_type(value: Any) -> JsonValue:
    return ["type", _BUILTIN_NAMES[value]] if value in _BUILTIN_NAMES else ["unencodable", "type"]


def _encode_int(value: Any) -> JsonValue:
    plain = int.__int__(value)
    # Hexadecimal: other readers of JSON round big integers, and decimal digits cost quadratic time and are capped.
    return plain if -SAFE_INTEGER < plain < SAFE_INTEGER else ["int", hex(plain)]


def _encode_str(value: Any) -> JsonValue:
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError:
        return ["str", plain.encode("utf-8", "surrogatepass").hex()]
    return plain


def _encode_complex(value: Any) -> JsonValue:
    real, imag = (part.__get__(value) for part in (vars(complex)["real"], vars(complex)["imag"]))
    return ["complex", f"{float.hex(real)} {float.hex(imag)}"]


def _encode_range(value: Any) -> JsonValue:
    return ["range", " ".join(hex(part) for part in (value.start, value.stop, value.step))]


def _encode_fraction(value: Any) -> JsonValue:
    numerator, denominator = (vars(Fraction)[part].fget(value) for part in ("numerator", "denominator"))
    return ["fraction", f"{hex(numerator)} {hex(denominator)}"]


def _attributes(kind: type, names: str, value: object) -> list[int]:
    return [vars(kind)[name].__get__(value) for name in names.split()]


def _zone(value: Any) -> list[int] | None:
    """Offset in microseconds as a list of at most one; None when the zone is more than a fixed offset."""
    if value is None:
        return []
    if type(value) is not dt.timezone:
        return None
    return [dt.timezone.utcoffset(value, None) // dt.timedelta(microseconds=1)]


def _encode_time(value: Any) -> JsonValue:
    zone = _zone(vars(dt.time)["tzinfo"].__get__(value))
    if zone is None:
        return ["unencodable", "time with a named zone"]
    return ["time", *_attributes(dt.time, "hour minute second microsecond fold", value), *zone]


def _encode_datetime(value: Any) -> JsonValue:
    zone = _zone(vars(dt.datetime)["tzinfo"].__get__(value))
    if zone is None:
        return ["unencodable", "datetime with a named zone"]
    date = _attributes(dt.date, "year month day", value)
    return ["datetime", *date, *_attributes(dt.datetime, "hour minute second microsecond fold", value), *zone]


_SCALARS: Final[dict[type, Callable[[Any], JsonValue]]] = {
    int: _encode_int,
    str: _encode_str,
    float: lambda value: ["float", float.hex(value)],
    complex: _encode_complex,
    bytes: lambda value: ["bytes", bytes.hex(value)],
    range: _encode_range,
    Decimal: lambda value: ["decimal", Decimal.__str__(value)],
    Fraction: _encode_fraction,
    # datetime comes before date in its own list of bases.
    dt.datetime: _encode_datetime,
    dt.date: lambda value: ["date", *_attributes(dt.date, "year month day", value)],
    dt.time: _encode_time,
    dt.timedelta: lambda value: [
        "timedelta",
        *_attributes(dt.timedelta, "days seconds microseconds", value),
    ],
}


def _flat_items(value: Any) -> Iterable[object]:
    return (part for item in dict.items(value) for part in item)


_CONTAINERS: Final[dict[type, tuple[str, Callable[[Any], Iterable[object]]]]] = {
    list: ("list", list.__iter__),
    tuple: ("tuple", tuple.__iter__),
    set: ("set", set.__iter__),
    frozenset: ("frozenset", frozenset.__iter__),
    dict: ("dict", _flat_items),
}


def _decode(encoded: JsonValue, depth: int) -> Any:
    if isinstance(encoded, str):
        return _plain_text(encoded)
    if encoded is None or isinstance(encoded, bool | int):
        return encoded
    if not isinstance(encoded, list) or not encoded or not isinstance(encoded[0], str):
        raise MalformedValue(f"expected a scalar or [tag, ...], got {str(encoded)[:80]!r}")
    tag, content = encoded[0], encoded[1:]
    if tag in _COLLECTIONS:
        if depth == 0:
            raise MalformedValue(f"a {tag} below {MAX_DEPTH} levels")
        return _collect(tag, [_decode(part, depth - 1) for part in content])
    if tag not in _DECODERS:
        raise MalformedValue(f"unknown tag {tag[:80]!r}")
    try:
        return _DECODERS[tag](*content)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedValue(f"{tag} cannot be {str(content)[:80]}") from error


def _plain_text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MalformedValue("a string with lone surrogates outside of its tag") from error
    return text


def _collect(tag: str, parts: list[Any]) -> Any:
    """Sets and dicts whose members cannot be hashed, or were made to collide, are refused instead of built."""
    members = parts[::2] if tag == "dict" else parts
    try:
        if tag in _HASHED and len(members) > CROWDED and max(Counter(map(hash, members)).values()) > CROWDED:
            return Unencodable(f"{tag} of colliding hashes")
        return _COLLECTIONS[tag](parts)
    except TypeError:
        return Unencodable(f"{tag} with a member that has no hash")


def _dict(parts: list[Any]) -> dict[Any, Any]:
    if len(parts) % 2:
        raise MalformedValue("dict with a key and no value")
    return dict(zip(parts[::2], parts[1::2], strict=True))


_HASHED: Final = frozenset({"set", "frozenset", "dict"})
_COLLECTIONS: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": _dict,
}


def _whole(text: str) -> int:
    return int(text, 16)


def _decode_fraction(text: str) -> Fraction | Unencodable:
    """Reducing a fraction takes time that grows with the square of its digits, and the program chose them."""
    if len(text) > MAX_FRACTION_DIGITS:
        return Unencodable("fraction of very large numbers")
    return Fraction(*map(_whole, text.split(" ")))


def _decode_zone(offset: list[int]) -> dt.timezone | None:
    return dt.timezone(dt.timedelta(microseconds=offset[0])) if offset else None


def _decode_time(hour: int, minute: int, second: int, microsecond: int, fold: int, *zone: int) -> dt.time:
    return dt.time(hour, minute, second, microsecond, _decode_zone([*zone]), fold=fold)


def _decode_datetime(  # noqa: PLR0917 - the fields of a date and a time in their usual order
    year: int, month: int, day: int, hour: int, minute: int, second: int, microsecond: int, fold: int, *zone: int
) -> dt.datetime:
    return dt.datetime(year, month, day, hour, minute, second, microsecond, _decode_zone([*zone]), fold=fold)


_DECODERS: Final[dict[str, Callable[..., Any]]] = {
    "int": _whole,
    "float": float.fromhex,
    "complex": lambda text: complex(*map(float.fromhex, text.split(" "))),
    "str": lambda text: bytes.fromhex(text).decode("utf-8", "surrogatepass"),
    "bytes": bytes.fromhex,
    "range": lambda text: range(*map(_whole, text.split(" "))),
    "decimal": Decimal,
    "fraction": _decode_fraction,
    "date": dt.date,
    "time": _decode_time,
    "datetime": _decode_datetime,
    "timedelta": dt.timedelta,
    "type": _BUILTIN_TYPES.__getitem__,
    "unencodable": Unencodable,
}
