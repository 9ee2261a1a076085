"""What a report is made of, harmless and hostile."""

from __future__ import annotations

from typing import Any

HOSTILE = [
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 1</script>",
    "</style><script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    '"><svg onload=window.ran=1>',
    "' onmouseover='window.ran = 1' autofocus onfocus='window.ran = 1",
    "javascript:window.ran=1",
    "{{ 7 * 7 }}{% raw %}",
    "<!-- --><![CDATA[ &lt;script&gt; &#60;b&#62;",
    "\u202egnp.exe\u202c \u05d0\u05d1\u05d2 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\x00\x1b[2J\r\n\t\ud800\ufeff\u2028",
    "a" + "\u0300" * 500,
    "x" * 65_536,
    "<b>" * 20_000,
    "\ufdfd" * 200,
]
"""Values that want to be run, to end the element that they are in, or to break the page."""

UUID = "8cf61352-9dfc-5bd8-8e2d-3487ad6019e3"


def document(words: list[str] | None = None) -> dict[str, Any]:
    """The data of a page; every text in it is one of the words, where some are given."""
    texts = words or ["see mail.example for details", "192.0.2.256"]
    name = words[0] if words else "misp"
    url = "https://misp.example/misp"

    def word(number: int, usual: str) -> str:
        return words[number % len(words)] if words else usual

    codes = {word(number, f"code_{number}"): 10 + number for number in range(max(4, len(texts)))}
    run = {
        "run_id": word(1, "17b529fc-79d4-48d6-9d24-322e3d7e67f0"),
        "target": name,
        "started_at": "2026-11-24T10:22:12+00:00",
        "ended_at": "2026-11-24T10:22:24+00:00",
        "seconds": 12.0,
        "outcome": word(2, "done"),
        "balanced": True,
        "read": 60_000,
        "created": 58_000,
        "updated": 12,
        "refused": 100,
    }
    receipt = {
        "run_id": run["run_id"],
        "started_at": run["started_at"],
        "seconds": 12.0,
        "source": {},
        "stopped_by": word(3, "") or None,
        "types": {
            word(number, f"Type {number}"): {"read": 1000 * (number + 1), "refused": number} for number in range(30)
        },
        "timeline": [
            {
                "seconds": float(second),
                "read": 5_000 * second,
                "sent": 4_800 * second,
                "stored": 25_000 * (second // 5),
                "in_flight": second % 3,
                "queued": second % 5,
                "retries": second // 4,
            }
            for second in range(13)
        ],
        "targets": [
            {
                "name": name,
                "read": 60_000,
                "created": 60_000 - 2 * sum(codes.values()) - 34,
                "updated": 12,
                "unchanged": 13,
                "merged": 4,
                "retired": 5,
                "rejected": codes,
                "quarantined": codes,
                "filtered": {},
                "rescued": {word(4, "refang"): 953},
                "kept": {word(3, "comment"): 2},
                "held_back": word(2, "") or None,
                "balanced": not words,
                "imbalance": list(words or ()),
                "events": [
                    {
                        "uuid": UUID,
                        "id": 5230,
                        "info": word(5, "ThreatQ Export 2026-11-24"),
                        "date": "2026-11-24",
                        "attributes": 25_000,
                        "published": True,
                    },
                    {
                        "uuid": word(6, UUID),
                        "id": None,
                        "info": word(7, "ThreatQ Export 2026-11-24 (2)"),
                        "date": "2026-11-24",
                        "attributes": 0,
                        "published": False,
                    },
                ],
                "requests": 77,
                "write_requests": 51,
                "retries": 2,
                "seconds_waiting_for": {"threatq": 0.5, "mapping": 1.7, "misp": 10.1, word(8, "backoff"): 0.0},
            }
        ],
    }
    refused = [
        {
            "kind": kind,
            "code": code,
            "count": count,
            "samples": [
                {"id": number, "type": word(number, "FQDN"), "value": text, "reason": word(number + 1, "It is none.")}
                for number, text in enumerate(texts)
            ],
        }
        for kind in ("rejected", "quarantined")
        for code, count in codes.items()
    ]
    return {
        "generated_at": "2026-11-24T10:30:00+00:00",
        "state": word(9, "/var/lib/tqmisp"),
        "run": run,
        "receipt": receipt,
        "runs": [run, run | {"run_id": word(10, "another"), "outcome": "failed", "balanced": None, "read": None}],
        "targets": [
            {
                "name": name,
                "url": url,
                "lock": None,
                "open_slices": 1,
                "oldest_open_slices": [],
                "events": [],
                "refused": refused,
            }
        ],
    }
