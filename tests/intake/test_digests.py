"""A document that was taken in once stays the same document for ever: sent again it is a duplicate.

`digests.jsonl` holds documents that version 0.1 accepted, with the digests that it computed. No change
may alter a line of it; new kinds of documents are added at its end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.intake.schema import as_sent, read_order

KEPT = [json.loads(line) for line in (Path(__file__).parent / "digests.jsonl").open()]


@pytest.mark.parametrize("kept", KEPT, ids=[str(n) for n in range(1, len(KEPT) + 1)])
def test_a_document_keeps_its_digest(kept: dict[str, Any]) -> None:
    assert read_order(kept["document"]).digest == kept["digest"]


@pytest.mark.parametrize("kept", KEPT, ids=[str(n) for n in range(1, len(KEPT) + 1)])
def test_a_document_that_was_kept_reads_as_the_same_again(kept: dict[str, Any]) -> None:
    body = json.loads(read_order(kept["document"]).body)

    assert read_order(as_sent(body)).digest == kept["digest"]


def test_the_documents_are_of_every_kind() -> None:
    documents = [kept["document"] for kept in KEPT]
    mails = [document["customer"].get("email") or "" for document in documents]

    assert len(documents) >= 200
    assert any(mail.partition("@")[2].isupper() for mail in mails)
    assert any(" " in (d["customer"].get("vat_id") or "") for d in documents)
    assert any(d.get("coupons") == [] for d in documents)
    assert any(None in d.values() for d in documents)
    assert {"JPY", "EUR", "KWD", "CLF"} <= {d["currency"] for d in documents}
