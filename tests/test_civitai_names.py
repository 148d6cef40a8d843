"""What users type, and what the site calls its files."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("requests")

from hypernet.civitai import CivitaiError, Reference, reference
from hypernet.civitai.filenames import safe_stem


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("4", Reference(4)),
        (" 4@5 ", Reference(4, 5)),
        ("@5", Reference(None, 5)),
        ("civitai.com/models/4", Reference(4)),
        ("<https://civitai.com/models/4?modelVersionId=5&x=1#y>", Reference(4, 5)),
        ("https://civitai.red/models/4/a-name", Reference(4)),
        ("https://civitai.com/model-versions/5", Reference(None, 5)),
        (
            "https://civitai.com/api/download/models/5?fileId=6&format=PickleTensor",
            Reference(None, 5, "", 6, "PickleTensor"),
        ),
        ("https://civitai.com/api/v1/model-versions/by-hash/ABCDEF0123", Reference(hash="abcdef0123")),
        ("urn:air:sd1:hypernetwork:civitai:4@5", Reference(4, 5)),
        ("AB" * 32, Reference(hash="ab" * 32)),
        ("0123456789ab", Reference(hash="0123456789ab")),
        ("hash:12345678", Reference(hash="12345678")),
        ("12345678", Reference(12345678)),
    ],
)
def test_what_is_meant_is_read_from_what_is_pasted(text: str, meant: Reference) -> None:
    assert reference(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ink",
        "0",
        "-4",
        "4@",
        "99999999999",
        "https://civitai.com",
        "https://civitai.com/user/painter",
        "https://civitai.com.evil.com/models/4",
        "https://evil.com/civitai.com/models/4",
        "https://civitai.com@evil.com/models/4",
        "https://[/models/4",
        "file:///models/4",
        "https://civitai.com/models/4?modelVersionId=x",
        "٤",
    ],
)
def test_what_is_no_model_of_the_site_is_said(text: str) -> None:
    with pytest.raises(CivitaiError):
        reference(text)


@given(text=st.text(max_size=80) | st.from_regex(r"(https://)?civitai\.com/[a-z0-9/?=&-]{0,60}", fullmatch=True))
def test_any_text_is_a_reference_or_a_sentence(text: str) -> None:
    try:
        meant = reference(text)
    except CivitaiError as error:
        assert str(error).isprintable()
    else:
        assert meant.model or meant.version or re.fullmatch("[0-9a-f]+", meant.hash)


@given(name=st.text(max_size=400) | st.text(alphabet="./\\:CONnulprn 1<>%\x00é画", max_size=30))
def test_any_name_becomes_one_that_every_system_takes(name: str) -> None:
    stem = safe_stem(name, "civitai-1")
    assert stem and stem == stem.strip(" .")
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f\x7f]', stem)
    assert len(stem.encode()) <= 160
    assert stem.partition(".")[0].strip().upper() not in ("CON", "PRN", "AUX", "NUL", "COM1", "LPT9")
    assert safe_stem(stem, "civitai-1") == stem or stem.lower().endswith((".pt", ".bin", ".zip", ".pth", ".ckpt"))
