"""Made-up values of every type, different for each index. Plain functions of an index and its random bytes."""

from __future__ import annotations

from collections.abc import Callable

WORDS = ("cdn", "update", "secure", "login", "mail", "static", "api", "portal", "img", "files", "sync", "panel")
_ENDINGS = ("com", "net", "org", "info", "top", "xyz", "ru", "cn", "io", "biz")
_OCTETS = tuple(n for n in range(1, 224) if n not in {10, 100, 127, 169, 172, 192, 198, 203})
"""First octets under which no address is reserved."""
_STRIDE = 2_654_435_761
"""A prime: its multiples meet every address once before one comes again."""
_AGENTS = ("Windows NT 10.0; Win64; x64", "X11; Linux x86_64", "Macintosh; Intel Mac OS X 10_15_7", "Windows NT 6.1")


def host(index: int, noise: bytes) -> str:
    """A name with an index in it, of two or three labels."""
    first, second = WORDS[noise[0] % 12], WORDS[noise[1] % 12]
    ending = _ENDINGS[noise[2] % 10]
    return f"{first}-{index}.{ending}" if noise[3] & 1 else f"{first}.{second}{index}.{ending}"


def _ipv4(index: int, _noise: bytes) -> str:
    first, rest = divmod(index * _STRIDE % (len(_OCTETS) << 24), 1 << 24)
    return f"{_OCTETS[first]}.{rest >> 16}.{rest >> 8 & 255}.{rest & 255}"


def _network(index: int, noise: bytes) -> str:
    first, rest = divmod(index * _STRIDE % (len(_OCTETS) << 16), 1 << 16)
    return f"{_OCTETS[first]}.{rest >> 8}.{rest & 255}.0/{24 + noise[0] % 5}"


def _url(index: int, noise: bytes) -> str:
    """Three in five have no scheme, since ThreatQ strips it."""
    path = f"{WORDS[noise[4] % 12]}/{'A' if noise[5] & 1 else 'a'}{noise[6:10].hex()}.php?id={noise[10]}"
    scheme = "" if noise[11] < 153 else "http://" if noise[11] < 220 else "https://"
    return f"{scheme}{host(index, noise)}/{path}"


def _mac(index: int, noise: bytes) -> str:
    return noise[0:1].hex() + "".join(f"-{byte:02x}" for byte in index.to_bytes(5, "big"))


VALUES: dict[str, Callable[[int, bytes], str]] = {
    "ASN": lambda index, _: f"AS{index + 1}",
    "Binary String": lambda index, noise: f"{noise[:12].hex()}{index:08x}",
    "Bitcoin Address": lambda index, noise: f"bc1q{noise[:14].hex()}{index:08x}",
    "CIDR Block": _network,
    "CVE": lambda index, noise: f"CVE-{2000 + noise[0] % 26}-{index + 1000}",
    "Email Address": lambda index, noise: f"user{index}@{host(index, noise)}",
    "Email Attachment": lambda index, _: f"invoice-{index}.docm",
    "Email Subject": lambda index, _: f"Your order {index} is on its way",
    "File Mapping": lambda index, noise: f"Local\\{noise[:6].hex()}-{index}",
    "File Path": lambda index, noise: f"C:\\Users\\Public\\{noise[:4].hex()}\\{index}.exe",
    "Filename": lambda index, noise: f"{WORDS[noise[0] % 12]}_{index}.exe",
    "FQDN": host,
    "Fuzzy Hash": lambda index, noise: f"{96 << noise[0] % 6}:{noise[:16].hex()}:{index:x}",
    "GOST Hash": lambda _, noise: noise[:32].hex(),
    "Hash ION": lambda index, noise: f"{noise[:10].hex()}{index}",
    "IP Address": _ipv4,
    "IPv6 Address": lambda index, noise: f"2a0{noise[0] % 10}:{index >> 16:x}:{index & 65535:x}::{noise[1] + 1:x}",
    "JARM Hash": lambda index, noise: f"{noise[:27].hex()}{index:08x}",
    "MAC Address": _mac,
    "MD5": lambda _, noise: noise[:16].hex(),
    "Mutex": lambda index, noise: f"Global\\{noise[:8].hex()}{index}",
    "Password": lambda index, noise: f"P@ss{noise[:4].hex()}{index}",
    "Registry Key": lambda index, noise: f"HKLM\\Software\\Run\\{noise[:4].hex()}{index}",
    "Service Name": lambda index, noise: f"Svc{noise[:3].hex()}{index}",
    "SHA-1": lambda _, noise: noise[:20].hex(),
    "SHA-256": lambda _, noise: noise[:32].hex(),
    "SHA-384": lambda _, noise: noise[:48].hex(),
    "SHA-512": lambda _, noise: noise[:64].hex(),
    "String": lambda index, noise: f"build {noise[:5].hex()} {index}",
    "x509 Serial": lambda index, noise: f"{noise[:8].hex()}{index:08x}",
    "x509 Subject": lambda index, _: f"CN=host{index}, O=Example",
    "URL": _url,
    "URL Path": lambda index, noise: f"/{WORDS[noise[0] % 12]}/{noise[:5].hex()}/{index}.php",
    "User-agent": lambda index, noise: f"Mozilla/5.0 ({_AGENTS[noise[0] & 3]}; rv:{noise[1]}.0) Agent/{index}",
    "Username": lambda index, noise: f"{WORDS[noise[0] % 12]}{index}",
    "X-Mailer": lambda index, noise: f"Mailer {noise[0]}.{index}",
}
"""Makes the value of each type."""
