import pytest

from schemas.sms import encoding_of, parts_of


@pytest.mark.parametrize(
    ("text", "encoding", "parts"),
    [
        ("", "GSM-7", 1),
        ("a" * 160, "GSM-7", 1),
        ("a" * 161, "GSM-7", 2),
        ("a" * 306, "GSM-7", 2),
        ("a" * 307, "GSM-7", 3),
        ("Ü£¥Δ@\n", "GSM-7", 1),
        ("€" * 80, "GSM-7", 1),  # an extended character takes two septets
        ("€" * 81, "GSM-7", 2),
        ("€" * 153, "GSM-7", 3),  # 76 of them fill a part of 153 septets: none is torn
        ("—" + "a" * 69, "UCS-2", 1),
        ("—" + "a" * 70, "UCS-2", 2),
        ("😀" * 35, "UCS-2", 1),
        ("😀" * 36, "UCS-2", 2),
        ("😀" * 67, "UCS-2", 3),  # 33 pairs fit into 67 units: none is torn
        ("नमस्ते", "UCS-2", 1),
    ],
)
def test_a_text_takes_as_many_sms_as_a_handset_would_send(text: str, encoding: str, parts: int) -> None:
    assert encoding_of(text) == encoding
    assert parts_of(text) == parts
