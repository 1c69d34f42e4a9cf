"""Objects of an S3 server: names to the letter, whole or not at all, refusals in our words."""

import sys
from pathlib import Path

import pytest

from omni_batch.sources import Address, SourceFault, Sources
from omni_batch.sources.spool import Spool
from omni_batch.sources.stores.object_store import StoreSettings
from omni_batch.sources.stores.opening import is_public
from tests.support.object_store import SECRET, TOKEN, Fault, ObjectServer

KEYS = (
    *(
        "m/a b.png",
        "m/a+b.png",
        "m/a#b.png",
        "m/a%b.png",
        "m/a%20b.png",
        "m/a?b.png",
        "m/a&b=c.png",
    ),
    *("m/it's.png", "m/[x].png", "m/a;b.png", "m/back\\slash.png", 'm/a"b<c>|^`{}.png', "m/~a.png"),
    *("m/\N{LATIN SMALL LETTER E WITH ACUTE}.png", "m/e\N{COMBINING ACUTE ACCENT}.png"),
    *("m/\N{GRINNING FACE}.png", "m/ a.png", "m/a .png", "m/folder/", "plain.png"),
    *("m//doubled.png", "/first.png", "m/./dot.png", "m/../up.png", "m/\x7f.png"),
)
"""The last line are those that obstore has no name for."""
PLAIN = tuple(key for key in KEYS if key.startswith("m/a"))


@pytest.fixture
def sources(tmp_path: Path, object_server: ObjectServer) -> Sources:
    return Sources(spool=Spool(tmp_path))


def at(key: str, bucket: str = "photos") -> Address:
    return Address.of(f"s3://{bucket}/{key}")


@pytest.fixture
def filled(object_server: ObjectServer) -> ObjectServer:
    for key in KEYS:
        object_server.put(key, f"content of {key}".encode())
    return object_server


def test_keys_are_read_listed_and_signed_to_the_letter(
    filled: ObjectServer, sources: Sources
) -> None:
    assert list(sources.keys(at(""))) == sorted(KEYS)
    assert list(sources.keys(at("m/a"))) == sorted(PLAIN)
    assert list(sources.keys(at("m/"))) == sorted(key for key in KEYS if key.startswith("m/"))
    for key in KEYS:
        content = f"content of {key}".encode()
        assert sources.object(at(key)).path.read_bytes() == content
        assert sources.head(at(key)).size_bytes == len(content)
        assert filled.fetched(str(sources.signed(at(key), 60))) == content


def test_a_folder_without_odd_names_is_listed_by_the_fast_way(
    object_server: ObjectServer, sources: Sources
) -> None:
    object_server.put("m/a.png", b"a")
    assert list(sources.keys(at("m/"))) == ["m/a.png"]
    assert object_server.asked == [("LIST", "m/")]


def test_an_object_is_read_once_while_it_is_held(
    object_server: ObjectServer, sources: Sources
) -> None:
    object_server.put("a.png", b"a")
    held = [sources.object(at("a.png")) for _ in range(3)]
    assert {file.path for file in held} == {held[0].path}
    assert object_server.count("GET") == 1


@pytest.mark.parametrize("key", ["big.bin", "odd//big.bin"])
def test_an_object_that_changes_while_it_is_read_comes_whole(
    object_server: ObjectServer, sources: Sources, key: str
) -> None:
    object_server.put(key, b"A" * 2_000_000)
    new = b"B" * 2_000_000
    replaced = Fault(method="GET", times=1, cut=True, then=lambda: object_server.put(key, new))
    object_server.faults.append(replaced)
    assert sources.object(at(key)).path.read_bytes() == new


def test_slow_down_is_tried_again(object_server: ObjectServer, sources: Sources) -> None:
    object_server.put("a.png", b"a")
    object_server.faults.append(Fault(503, "SlowDown", "GET|LIST|HEAD", times=3))
    assert sources.object(at("a.png")).path.read_bytes() == b"a"
    assert object_server.count("GET") == 4


REFUSALS = [
    (Fault(403, "AccessDenied"), True, "AWS_ACCESS_KEY_ID"),
    (Fault(400, "ExpiredToken"), True, "ExpiredToken"),
    (Fault(404, "NoSuchKey"), False, "check the manifest"),
    (Fault(404, "NoSuchBucket"), True, "there is no such bucket"),
]


@pytest.mark.parametrize(("fault", "for_all", "words"), REFUSALS)
@pytest.mark.parametrize("key", ["a.png", "odd//a.png"])
def test_a_refusal_names_the_object_the_reason_and_what_to_do(
    object_server: ObjectServer,
    sources: Sources,
    fault: Fault,
    for_all: bool,
    words: str,
    key: str,
) -> None:
    object_server.put(key, b"a")
    object_server.faults.append(fault)
    with pytest.raises(SourceFault) as caught:
        sources.object(at(key))
    message = str(caught.value)
    assert caught.value.for_all is for_all
    assert "s3://photos" in message
    assert words in message
    assert "\n" not in message
    assert SECRET not in message
    assert TOKEN not in message


def test_a_bucket_of_another_region_says_so(object_server: ObjectServer, sources: Sources) -> None:
    object_server.faults.append(Fault(301, "PermanentRedirect"))
    with pytest.raises(SourceFault, match=r"another region .*: set AWS_REGION"):
        sources.object(at("a.png"))


def test_head_tells_the_reason_too(object_server: ObjectServer, sources: Sources) -> None:
    object_server.faults.append(Fault(400, "ExpiredToken"))
    with pytest.raises(SourceFault, match="ExpiredToken"):
        sources.head(at("a.png"))


def test_an_object_over_the_limit_is_not_read(
    object_server: ObjectServer, sources: Sources
) -> None:
    object_server.put("a.png", bytes(1000))
    with pytest.raises(SourceFault, match=r"has 1,000 bytes; the limit here is 999"):
        sources.object(at("a.png"), most_bytes=999)


def test_without_credentials_it_says_where_they_belong(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceFault, match=r"no credentials; set AWS_ACCESS_KEY_ID.*anonymous"):
        sources.object(at("a.png"))


def test_a_profile_is_read_by_the_conventions_of_aws(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text("[team]\naws_access_key_id = AKIAOFTHETEAM\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "team")
    signed = Sources(spool=Spool(tmp_path)).signed(at("a.png"), 60)
    assert "AKIAOFTHETEAM" in str(signed)


@pytest.mark.parametrize(
    ("addressing", "start"),
    [
        ("auto", "http://localhost:"),
        ("path", "http://localhost:"),
        ("virtual", "http://photos.localhost:"),
    ],
)
def test_the_bucket_goes_where_addressing_says(
    object_server: ObjectServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    addressing: str,
    start: str,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_server.url.replace("127.0.0.1", "localhost"))
    settings = StoreSettings(addressing)  # type: ignore[arg-type]
    sources = Sources(settings, Spool(tmp_path))
    assert str(sources.signed(at("a.png"), 60)).startswith(start)
    assert ("/photos/a.png?" in str(sources.signed(at("a.png"), 60))) == ("photos." not in start)


def test_oss_is_asked_as_it_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Sources(spool=Spool(tmp_path))
    assert not sources.takes("oss://mine/a.png")  # without an endpoint the service resolves it
    monkeypatch.setenv("OSS_ENDPOINT", "oss-cn-hangzhou.aliyuncs.com")
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "LTAITESTS")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "s")
    assert sources.takes("oss://mine/a.png")
    assert not sources.takes("oss://dashscope-instant/a.png")
    for key in ("a b.png", "odd//a.png"):
        signed = str(sources.signed(Address.of(f"oss://mine/{key}"), 60))
        assert signed.startswith("https://mine.s3.oss-cn-hangzhou.aliyuncs.com/")
        assert "LTAITESTS%2F" in signed
        assert "%2Foss-cn-hangzhou%2Fs3%2F" in signed


def test_an_address_with_credentials_is_refused_without_showing_them(tmp_path: Path) -> None:
    address = Address.of("s3://AKIASOMEBODY:hunter2@photos/a.png")
    with pytest.raises(SourceFault, match="holds no credentials") as caught:
        Sources(spool=Spool(tmp_path)).object(address)
    assert "hunter2" not in str(caught.value)


def test_google_is_read_and_listed(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its XML API is S3's, so one server does for both."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", object_server.url)
    sources = Sources(spool=Spool(tmp_path))
    for key in ("m/a b#1.png", "m/b%20.png"):
        object_server.put(key, key.encode())
    address = Address.of("gs://photos/m/a b#1.png")
    assert sources.object(address).path.read_bytes() == b"m/a b#1.png"
    assert sources.head(address).size_bytes == 11
    assert list(sources.keys(Address.of("gs://photos/m/"))) == ["m/a b#1.png", "m/b%20.png"]
    assert list(sources.keys(Address.of("gs://photos/m/b"))) == ["m/b%20.png"]
    with pytest.raises(SourceFault, match=r"gs://photos/m//a\.png: names with //"):
        sources.object(Address.of("gs://photos/m//a.png"))
    object_server.faults.append(Fault(403, "AccessDenied"))
    with pytest.raises(SourceFault, match="GOOGLE_APPLICATION_CREDENTIALS"):
        sources.head(address)


@pytest.mark.parametrize("key", ["a b#1.png", "odd//a.png"])
def test_a_public_bucket_is_read_without_credentials(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    object_server.put(key, b"a")
    sources = Sources(StoreSettings(anonymous=True), Spool(tmp_path))
    assert sources.object(at(key)).path.read_bytes() == b"a"
    assert list(sources.keys(at(""))) == [key]
    assert "Signature" not in str(sources.signed(at(key), 60))


@pytest.mark.parametrize(
    ("package", "reference", "extra"),
    [("obstore", "s3://b/a.png", "stores"), ("huggingface_hub", "hf://datasets/a/b/c", "hub")],
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, reference: str, extra: str
) -> None:
    modules = [name for name in sys.modules if name.startswith("omni_batch.sources.stores.through")]
    for name in (*modules, "omni_batch.sources.stores.hub"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == package] or [package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SourceFault, match=rf"{package}, which is not installed; .*\[{extra}\]"):
        Sources(spool=Spool(tmp_path)).object(Address.of(reference))


@pytest.mark.parametrize(
    "endpoint",
    [
        *("http://127.0.0.1:9000", "http://localhost:9000", "https://10.1.2.3", "https://minio"),
        *("https://s3.oss-cn-hangzhou-internal.aliyuncs.com", "https://store.team.internal"),
    ],
)
def test_what_only_this_network_reaches_is_not_public(endpoint: str) -> None:
    assert not is_public(endpoint)


def test_an_address_that_everybody_reaches_is_public() -> None:
    assert is_public("https://8.8.8.8")
