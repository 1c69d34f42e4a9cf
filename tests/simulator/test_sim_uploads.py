"""Files go up by form, and come back as oss:// references."""

import hashlib
import io
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.simulator.api.form_data import Malformed, read_form
from tests.simulator import sim_media as media
from tests.simulator.sim_client import CLIENT, HEADERS, body, events, post, refusal, text, usage

FLASH = "qwen3-omni-flash"
FORM = "multipart/form-data; boundary=xx"
RESOLVE = {**HEADERS, "X-DashScope-OssResourceResolve": "enable"}


@pytest.fixture
def fresh() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(max_file_size_mb=1)) as simulator:
        yield simulator


def policy(sim: Simulator, model: str = FLASH, **options: Any) -> httpx.Response:
    query = {"action": "getPolicy", "model": model}
    url = sim.base_url.split("/compatible")[0] + "/api/v1/uploads"
    return CLIENT.get(url, **{"params": query, "headers": HEADERS, **options})


def fields(granted: dict[str, Any], name: str = "a.bin") -> dict[str, str]:
    return {
        "OSSAccessKeyId": granted["oss_access_key_id"],
        "Signature": granted["signature"],
        "policy": granted["policy"],
        "key": f"{granted['upload_dir']}/{name}",
        "x-oss-object-acl": granted["x_oss_object_acl"],
        "x-oss-forbid-overwrite": granted["x_oss_forbid_overwrite"],
        "success_action_status": "200",
    }


def upload(sim: Simulator, data: bytes, model: str = FLASH) -> str:
    granted = policy(sim, model).json()["data"]
    form = fields(granted)
    response = CLIENT.post(granted["upload_host"], data=form, files={"file": ("a.bin", data)})
    assert (response.status_code, response.content) == (200, b"")
    return f"oss://{form['key']}"


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (media.jpeg(640, 427), media.image),
        (media.wav(3.2), media.audio),
        (media.mp4_with_sound(4), media.video),
        (media.mp4_with_sound(4), media.audio),
    ],
)
def test_an_uploaded_file_counts_as_if_it_were_sent(fresh: Simulator, data: Any, part: Any) -> None:
    stored = events(post(fresh, body([part(upload(fresh, data))]), headers=RESOLVE).text)
    sent = events(post(fresh, body([part(media.uri(data))])).text)
    assert text(stored) == text(sent)
    assert usage(stored) == usage(sent)


def test_only_facts_hash_and_length_are_kept(fresh: Simulator) -> None:
    data = media.jpeg(640, 427)
    key = upload(fresh, data).removeprefix("oss://")
    stored = fresh.files[key]
    assert (stored.model, stored.length_bytes) == (FLASH, len(data))
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert set(stored.media) == {"image"}
    assert (fresh.counters.uploads, fresh.counters.stored, fresh.counters.requests) == (1, 1, 0)


def test_the_policy_has_the_documented_members(fresh: Simulator) -> None:
    whole = policy(fresh).json()
    assert whole["request_id"]
    assert whole["data"]["upload_host"].startswith(fresh.base_url.split("/compatible")[0])
    assert (whole["data"]["expire_in_seconds"], whole["data"]["max_file_size_mb"]) == (300, 1)
    assert (whole["data"]["x_oss_object_acl"], whole["data"]["x_oss_forbid_overwrite"]) == (
        *("private", "true"),
    )


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {}}, 401),
        ({"params": {"action": "getPolicy", "model": "nobody"}}, 404),
        ({"params": {"model": FLASH}}, 400),
    ],
)
def test_a_policy_is_refused(fresh: Simulator, options: Any, status: int) -> None:
    response = policy(fresh, **options)
    assert (response.status_code, "code" in response.json()) == (status, True)
    assert fresh.counters.uploads == 0


def test_the_header_and_the_model_must_be_right(fresh: Simulator) -> None:
    request = body([media.image(upload(fresh, media.jpeg(64, 48)))])
    assert "does not appear to be valid" in refusal(post(fresh, request))[2]
    other = {**request, "model": "qwen-omni-turbo"}
    assert "Don't have authorization" in refusal(post(fresh, other, headers=RESOLVE))[2]
    asked = body([media.audio(request["messages"][0]["content"][0]["image_url"]["url"])])
    assert "audio format is illegal" in refusal(post(fresh, asked, headers=RESOLVE))[2]


def test_a_file_is_forgotten_after_its_time(fresh: Simulator) -> None:
    fresh.change(upload_valid_s=0.0)
    request = body([media.image(upload(fresh, media.jpeg(64, 48)))])
    assert "Failed to find" in refusal(post(fresh, request, headers=RESOLVE))[2]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Signature": "bm8="}, "SignatureDoesNotMatch"),
        ({"policy": "e30="}, "SignatureDoesNotMatch"),
        ({"OSSAccessKeyId": "me"}, "InvalidAccessKeyId"),
        ({"key": "elsewhere/a.bin"}, "AccessDenied"),
    ],
)
def test_what_the_policy_does_not_permit_is_refused(
    fresh: Simulator, changes: Any, code: str
) -> None:
    granted = policy(fresh).json()["data"]
    form = {**fields(granted), **changes}
    response = CLIENT.post(granted["upload_host"], data=form, files={"file": b"x"})
    assert response.status_code == 403
    assert f"<Code>{code}</Code>" in response.text
    assert fresh.files == {}


def test_an_old_policy_is_refused(fresh: Simulator) -> None:
    fresh.change(policy_valid_s=0.0)
    granted = policy(fresh).json()["data"]
    response = CLIENT.post(granted["upload_host"], data=fields(granted), files={"file": b"x"})
    assert "Policy expired." in response.text


def test_fields_out_of_order_a_second_file_and_a_large_one_are_refused(fresh: Simulator) -> None:
    granted = policy(fresh).json()["data"]
    form, host = fields(granted), granted["upload_host"]
    backwards = dict(reversed(form.items()))
    assert "InvalidArgument" in CLIENT.post(host, data=backwards, files={"file": b"x"}).text
    assert "EntityTooLarge" in CLIENT.post(host, data=form, files={"file": b"x" * 2**21}).text
    assert CLIENT.post(host, data=form, files={"file": b"x"}).status_code == 200
    again = CLIENT.post(host, data=form, files={"file": b"x"})
    assert (again.status_code, "FileAlreadyExists" in again.text) == (409, True)
    assert CLIENT.post(host, content=b"no form").status_code == 400


def test_the_content_type_may_come_before_the_file(fresh: Simulator) -> None:
    """As the vendor's own SDK sends it."""
    granted = policy(fresh).json()["data"]
    form, host = fields(granted), granted["upload_host"]
    first = {"x-oss-content-type": "image/png", **form}
    assert "InvalidArgument" in CLIENT.post(host, data=first, files={"file": b"x"}).text
    last = {**form, "x-oss-content-type": "image/png"}
    assert CLIENT.post(host, data=last, files={"file": b"x"}).status_code == 200


BODY = (
    b'--xx\r\nContent-Disposition: form-data; name="key"\r\n\r\nvalue\r\n'
    b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\nab\r\n--x\r\n-\r\ncd\r\n--xx--\r\n"
)


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_a_form_is_the_same_however_it_is_cut(size: int) -> None:
    file = io.BytesIO()
    cut = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    form = await read_form(FORM, pieces(*cut), file, 100)
    assert (form.names, form.fields) == (["key", "file"], {"key": "value"})
    assert file.getvalue() == b"ab\r\n--x\r\n-\r\ncd"
    assert form.file_bytes == len(file.getvalue())


@pytest.mark.parametrize(
    ("content_type", "content", "said"),
    [
        ("multipart/form-data", BODY, "boundary"),
        ("text/plain; boundary=xx", BODY, "boundary"),
        (FORM, BODY[:-8], "cut off"),
        (FORM, b"--xx\r\nContent-Type: text/plain\r\n\r\n1\r\n--xx--", "no name"),
        (FORM, b"--xx??", "neither a line nor the end"),
        (
            FORM,
            b'--xx\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + b"v" * 70_000,
            "long",
        ),
    ],
)
async def test_a_malformed_form_is_refused(content_type: str, content: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        await read_form(content_type, pieces(content), io.BytesIO(), 100)


async def test_a_large_file_is_not_held_in_memory() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'--xx\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        for _ in range(320):
            yield bytes(65_536)
        yield b"\r\n--xx--\r\n"

    with tempfile.TemporaryFile() as file:
        tracemalloc.start()
        form = await read_form(FORM, body(), file, 10_000_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert 10_000_000 < file.tell() < 10_100_000
    assert form.file_bytes == 320 * 65_536
    assert peak_bytes < 2_000_000
