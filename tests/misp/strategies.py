"""Values as feeds, and attackers, write them."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from tqmisp.misp.types import TYPES

settings.register_profile("unhurried", deadline=None)  # the first example reads tables from disk
settings.load_profile("unhurried")

SCHEMES = "http https hxxp hXXps meow h[tt]p h**p ; :// [://] [:] : :: // mailto:"
HOSTS = "evil EVIL com gov.uk xn-- - _ . .. [.] [dot] (dot) {.} [. .] [ ] ( ) @ [at] [@] < > *. * ? # / \\ %00 & = | ||"
NUMBERS = "1 01 8 24 32 /24 /032 128 255 256 999 65535 65536 4294967296 10.0.0.1 192.0.2.1 ffff fe80 2001:db8"
NAMES = "AS asn CVE cve-2024- 2024 12345 3:abc:de aa:bb:cc:dd:ee:ff AA-BB-CC HKLM\\Software\\X C:\\ key|value tlp:red"
INVISIBLE = "\t \n \r \0 \x01 \x0b \x7f \x85 \xa0 \u200b \u200d \u202e \ufeff \u0301 \ud83d"
LETTERS = "é ß \u0131 İ ǆ 。 \uff41 \u2013 שלום 中 😀"
HASHES = ["d41d8cd98f00b204e9800998ecf8427e", "F" * 40, "0" * 64]
PIECES = [" ", *f"{SCHEMES} {HOSTS} {NUMBERS} {NAMES} {LETTERS}".split(), *INVISIBLE.split(" "), *HASHES]

pieces = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
anything = st.text(st.characters(codec=None), max_size=40)
values = st.one_of(pieces, anything, st.tuples(pieces, anything, pieces).map("".join))
"""Text of every kind, valid Unicode or not."""

labels = st.sampled_from([*TYPES, "Custom Type"])

OTHERS = (
    "btc domain|ip email email-dst filename|md5 filename|sha256 hostname hostname|port ip-dst|port ip-src port "
    "regkey|value sha224 target-email weakness x509-fingerprint-sha1"
)
misp_types = st.sampled_from([*sorted({filed.type for filed in TYPES.values()}), *OTHERS.split()])

HOSTILE = [
    *("a" * 65_535, "a." * 32_767, "." * 65_535, "[.]" * 21_845, "[" * 65_535, "[[.]" * 16_384, "(dot" * 16_384),
    *("a@" * 32_767, "@." * 32_767, " " * 65_534 + "x", "x" + "\t" * 65_534, "\u200b" * 21_845, "é." * 21_845),
    *("\u0301" * 32_767, "1.2.3.4:" * 8_191, ":" * 65_535, "0" * 65_535, "1" * 65_535, "AS" + "9" * 65_533),
    *("CVE-" * 16_383, "hxxp" * 16_383, "<" * 65_535, "<a" * 32_767, "&#" * 32_767, "|" * 65_535, "\\" * 65_535),
    *("%" * 65_535, "-" * 65_534 + "!", "\ud83d" * 65_535, "😀" * 16_383, "א" * 32_767, "a\n" * 32_767, "\0" * 65_535),
    *("http://" * 9_362, "a/" * 32_767, "/" * 65_535, "&amp;" * 13_107, "tlp:" * 16_383, "xn--a." * 10_922),
]
"""Values of 65,535 characters, or bytes, of one kind each."""
