"""Lines that come back, whatever has become of them on the way."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.jobs.lines import Envelope, Fill, id_of, row_of
from omni_batch.jobs.output import OutputLine, Sorter, better, read_line
from omni_batch.providers.dialect import FileRoute
from omni_batch.providers.dialects import DIALECTS


def line(custom_id: Any, status: Any = 200, body: Any = None, error: Any = None) -> bytes:
    response = {"status_code": status, "request_id": "r", "body": {} if body is None else body}
    return json.dumps({"custom_id": custom_id, "response": response, "error": error}).encode()


def test_an_answer_is_its_body_with_the_service_s_id() -> None:
    found = read_line(line("row-7", body={"id": "x"}))
    assert found == OutputLine("answer", 7, "row-7", 200, "r", b'{"id": "x"}')


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"  \n", b"\xef\xbb\xbf\n"])
def test_a_blank_line_is_none(raw: bytes) -> None:
    assert read_line(raw) is None


@pytest.mark.parametrize(
    ("raw", "kind", "row"),
    [
        (b"\xef\xbb\xbf" + line("row-1") + b"\r\n", "answer", 1),
        (line("row-1", status=400), "refusal", 1),
        (line("row-1", status=0), "refusal", 1),
        (line("row-1", status="200"), "refusal", 1),
        (line("row-1", error={"code": "x", "message": "y"}), "refusal", 1),
        (b'{"custom_id": "row-1", "response": null, "error": null}', "nothing", 1),
        (b'{"custom_id": "row-1"}', "nothing", 1),
        (b'{"custom_id": "row-1", "response": {"status_code": 200, "bo', "damaged", 1),
        (b'{"response": {"status_code": 200', "damaged", None),
        (b"\x00\x00\x00", "damaged", None),
        (line("nobody"), "answer", None),
        (line(12), "answer", None),
        (line(None), "answer", None),
        (line("row-1\n"), "answer", None),
        (line("row-" + "1" * 40), "answer", None),
    ],
)
def test_every_line_is_read_as_far_as_it_goes(raw: bytes, kind: str, row: int | None) -> None:
    found = read_line(raw)
    assert found is not None
    assert (found.kind, found.row_number) == (kind, row)


def test_what_went_wrong_is_json_as_the_live_service_would_have_sent_it() -> None:
    refused = read_line(line("row-1", error={"code": "c", "message": "m"}))
    assert refused is not None
    assert json.loads(refused.body) == {"error": {"code": "c", "message": "m"}}
    page = read_line(line("row-1", status=502, body="<html>Bad Gateway</html>"))
    assert page is not None
    assert (page.http_status, page.body) == (502, b"<html>Bad Gateway</html>")


def test_the_first_line_for_a_row_counts_unless_only_the_other_is_an_answer() -> None:
    refusal, first, second = (
        OutputLine("refusal", 1, "row-1"),
        OutputLine("answer", 1, "row-1", body=b"1"),
        OutputLine("answer", 1, "row-1", body=b"2"),
    )
    assert better(None, refusal) is refusal
    assert better(refusal, first) is first
    assert better(first, second) is first
    assert better(first, refusal) is first


@given(
    rows=st.sets(st.integers(0, 40), max_size=20),
    double=st.lists(st.integers(0, 40), max_size=5),
    strange=st.integers(0, 5),
    seed=st.integers(),
)
def test_each_row_is_found_once_and_the_rest_is_counted(
    rows: set[int], double: list[int], strange: int, seed: int
) -> None:
    sent = set(range(0, 41, 2))
    lines = [line(id_of(row)) for row in (*rows, *double)]
    lines += [line(f"nobody-{n}") for n in range(strange)]
    random.Random(seed).shuffle(lines)
    sorter = Sorter(sent)
    found = [row for raw in lines if (row := sorter.row_of(raw)) is not None]
    ours = [row for row in (*rows, *double) if row in sent]
    assert sorted(found) == sorted(ours)
    assert sorter.seen == set(ours)
    assert sorter.double == len(ours) - len(set(ours))
    assert sorter.strange == strange + len(rows) + len(double) - len(ours)
    assert bool(sorter.oddities) == bool(sorter.double or sorter.strange)


def test_oddities_are_told_with_a_few_of_the_ids() -> None:
    sorter = Sorter({1})
    for raw in (line("row-1"), line("row-1"), *[line(f"x{n}") for n in range(9)], b"{"):
        sorter.row_of(raw)
    assert sorter.oddities == (
        "1 line for rows answered twice (the first counts) and "
        "9 lines with ids that were never sent (x0, x1, x2) and 1 line that can't be read"
    )


# --- what goes out ---


@given(st.integers(0, 10**11))
def test_an_id_leads_back_to_its_row_and_is_short(row: int) -> None:
    assert row_of(id_of(row)) == row
    assert len(id_of(row)) <= 64


def test_a_line_is_json_around_its_body_and_as_long_as_was_said() -> None:
    envelope, body = Envelope.of(3, "/v1/chat/completions"), b'{"model":"m"}'
    whole = envelope.head + body + envelope.end
    assert whole.endswith(b"\n")
    assert len(whole) - 1 == envelope.around(len(body))
    assert json.loads(whole) == {
        "custom_id": "row-3",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m"},
    }


def test_a_file_is_full_at_its_lines_or_its_bytes() -> None:
    route = FileRoute(lines=2, file_bytes=30, line_bytes=100, longest_window_h=24)
    one = Fill(route).plus(10)
    assert Fill(route).fits(1_000)  # a first line always does: its own length is another rule
    assert one.fits(18)  # 10 + 18 and two newlines
    assert not one.fits(19)
    assert not one.plus(1).fits(1)


@pytest.mark.parametrize("name", ["dashscope-batch", "openai-batch"])
def test_the_limits_are_those_of_the_documents(name: str) -> None:
    route = DIALECTS[name].files
    assert route is not None
    assert route.lines == 50_000
    assert route.refuses(route.line_bytes - 128) is None
    assert "media by URL" in (route.refuses(route.line_bytes - 127) or "")


def test_the_longest_id_and_url_fit_into_what_is_kept_for_them() -> None:
    assert len(Envelope.of(10**11, "/v1/chat/completions").head) + 2 < 128
