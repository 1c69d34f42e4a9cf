"""Proxies and certificates of the environment: understood, passed over, or refused by name."""

from pathlib import Path

import certifi
import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omni_batch.errors import ConfigError
from omni_batch.providers.environment import (
    Proxies,
    check_environment,
    check_proxies,
    environment_for_httpx,
    read_proxy,
    readable_exceptions,
)

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all", "no"):
        for name in (f"{scheme}_proxy", f"{scheme}_PROXY".upper()):
            monkeypatch.delenv(name, raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


# --- which proxy ---


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("HTTP_PROXY", "http://api.example/v1"),
        ("http_proxy", "http://api.example/v1"),
        ("https_proxy", "https://api.example/v1"),
        ("ALL_PROXY", "https://api.example/v1"),
        ("all_proxy", "http://api.example:8000/v1"),
    ],
)
def test_a_proxy_is_found_by_scheme_in_either_case(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, f"  {PROXY}/ ")
    proxy = Proxies.of_environment().for_url(url)
    assert str(proxy) == f"the proxy of {variable} (http://proxy.example:3128)"


def test_a_proxy_of_the_scheme_outweighs_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.example:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://https.example:1")
    assert "HTTPS_PROXY" in str(Proxies.of_environment().for_url("https://api.example"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_is_reached_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense")
    assert Proxies.of_environment().for_url(f"http://{host}:8000/v1") is None
    check_environment([f"http://{host}:8000/v1", None])


def test_an_empty_variable_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", " ")
    assert Proxies.of_environment().for_url("https://api.example") is None


# --- exceptions ---

HOST, V4, V6 = "http://api.corp.example:8000", "http://10.1.2.3:8000", "http://[fd00:1::5]:8000"


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        *[(HOST, entry) for entry in ("*", "corp.example", ".corp.example", "API.CORP.example.")],
        *[(HOST, entry) for entry in ("*.corp.example", "api.*", "api.corp.example:8000")],
        *[(HOST, entry) for entry in ("http://corp.example", "all://api.corp.example")],
        *[(V4, entry) for entry in ("10.1.2.3", "10.0.0.0/8", "10.*", "10.1.2.3:8000")],
        *[(V6, entry) for entry in ("fd00:1::5", "[fd00:1::5]", "fd00:1::/64", "[fd00:1::]/64")],
        *[(V6, entry) for entry in ("[fd00:1::5]:8000", "fd00:0001:0:0::5", "all://[fd00::]/16")],
        ("http://printer/v1", "<local>"),
    ],
)
def test_an_exception_leads_past_the_proxy(url: str, entry: str) -> None:
    for exceptions in ((entry,), ("%%%", "fe80::/10", entry, "x")):
        assert Proxies({"all": PROXY}, exceptions).for_url(url) is None


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        *[(HOST, entry) for entry in ("example.com", "orp.example", "x.corp.example", "corp")],
        *[
            (HOST, entry)
            for entry in ("api.corp.example:80", "https://api.corp.example", "<local>")
        ],
        *[(HOST, entry) for entry in ("fd00:1::/64", "10.0.0.0/8", "::1/999", "[", "a:b", ".", "")],
        *[(V4, entry) for entry in ("10.1.2", "10.1.2.3/33", "11.0.0.0/8", "10.1.2.3:80", "::/0")],
        *[(V6, entry) for entry in ("fe80::/10", "[fd00:1::5]:80", "fd00:1::6", "0.0.0.0/0")],
    ],
)
def test_an_exception_for_others_or_for_nobody_changes_nothing(url: str, entry: str) -> None:
    assert Proxies({"all": PROXY}, (entry,)).for_url(url) is not None


@given(entry=st.text(st.sampled_from("abz09.:*/[]%-_@<> ,\x7fü"), max_size=12) | st.text())
@example("fd07:b51a:cc66:f0::/64")
@example("::ffff:10.0.0.1/96")
def test_no_exception_can_keep_a_request_from_being_sent(entry: str) -> None:
    for url in (HOST, V4, V6):
        Proxies({"all": PROXY}, (entry,)).for_url(url)


@given(entry=st.text(st.sampled_from("abz09.:*/[]%-_@<>\x7fü"), max_size=12) | st.text())
@example("fd07:b51a:cc66:f0::/64")
@example("[::1]:80")
@example("[fe80::1]")
@example("all://[::1]:x")
@settings(max_examples=25)  # a client takes 20 ms
def test_exceptions_can_be_put_so_that_httpx_reads_them(entry: str) -> None:
    value = readable_exceptions(f"localhost,{entry}")
    assert value.startswith("localhost")
    assert readable_exceptions(value) == value
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", PROXY)
        patch.setenv("NO_PROXY", value.replace("\0", ""))
        httpx.Client()


def test_exceptions_that_httpx_can_read_mean_the_same_to_us() -> None:
    value = readable_exceptions("fd00:1::/64, [fd00:2::5] fd00:3::1,10.0.0.0/8;*.corp.example")
    exceptions = tuple(value.split(","))
    for url in (HOST, V4, V6, "http://[fd00:2::5]/", "http://[fd00:3::1]/"):
        assert Proxies({"all": PROXY}, exceptions).for_url(url) is None
    assert Proxies({"all": PROXY}, exceptions).for_url("http://[fd00:4::1]/") is not None


def test_a_server_on_this_machine_is_reached_by_httpx_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert environment_for_httpx() == {}
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:7890/")
    assert environment_for_httpx() == {
        "ALL_PROXY": "socks5://127.0.0.1:7890/",
        "NO_PROXY": "localhost,127.0.0.1,all://[::1]",
    }
    monkeypatch.setenv("no_proxy", "127.0.0.1,fd00::/8")
    changed = environment_for_httpx()
    assert changed["no_proxy"] == "127.0.0.1,all://[fd00::]/8,localhost,all://[::1]"
    monkeypatch.setenv("no_proxy", changed["no_proxy"])
    assert environment_for_httpx()["no_proxy"] == changed["no_proxy"]


def test_any_proxy_can_be_refused_unless_none_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense")
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        check_proxies()
    monkeypatch.setenv("NO_PROXY", "*")
    check_proxies()


# --- proxies that can't be used ---


@pytest.mark.parametrize(
    "value",
    [
        *("proxy", "on", "http://", "http:/proxy:1", "http://:3128", "http://proxy:99999"),
        *("http://proxy:0", "http://a b:1", "ftp://proxy:1", "http://[::1", "http://[x]:1"),
        "'http://proxy:1'",
    ],
)
def test_what_names_no_proxy_is_refused_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ConfigError, match=r"HTTPS_PROXY = .*write http://HOST:PORT, or unset"):
        check_environment(["https://api.example/v1"])
    check_environment(["http://api.example/v1"])  # another variable's


@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h", "SOCKS5"])
def test_a_socks_proxy_without_its_package_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr("omni_batch.providers.environment.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"ALL_PROXY = .*pip install 'httpx\[socks\]'.*unset"):
        read_proxy("ALL_PROXY", f"{scheme}://127.0.0.1:7890/")


def test_a_socks_proxy_is_used_where_its_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni_batch.providers.environment.find_spec", lambda _: object())
    proxy = read_proxy("ALL_PROXY", "socks://127.0.0.1:7890/")
    assert (proxy.address, proxy.url) == ("socks://127.0.0.1:7890", "socks5://127.0.0.1:7890/")


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
def test_socks_4_is_refused_with_what_to_write(scheme: str) -> None:
    with pytest.raises(ConfigError, match=r"set ALL_PROXY to socks5://127\.0\.0\.1:7890"):
        read_proxy("ALL_PROXY", f"{scheme}://127.0.0.1:7890")


@pytest.mark.parametrize(
    "value",
    [
        *("http://me:SECRET@proxy:3128", "me:SECRET@proxy:3128", "http://me:%53ECRET@proxy:3128"),
        *("http://me:SEC/RET@proxy:3128", "http://me:SEC@RET@proxy:1", "http://me:SEC RET@proxy:1"),
        *("http://me:SECRET@proxy:99999", "ftp://me:SECRET@proxy", "x://me:SEC://RET@proxy:1"),
        *("socks5://me:SECRET@proxy:1", "me:SECRET@"),
    ],
)
def test_a_login_is_never_shown(value: str) -> None:
    try:
        shown = f"{Proxies({'http': value})!r} {read_proxy('HTTP_PROXY', value)!r}"
    except ConfigError as exc:
        shown = f"{exc!r}"
    assert "HTTP_PROXY" in shown
    assert "SEC" not in shown
    assert "RET" not in shown
    assert "me:" not in shown


# --- certificates ---


@pytest.mark.parametrize(
    ("variable", "path", "said"),
    [
        ("SSL_CERT_FILE", "gone.pem", "does not exist"),
        ("SSL_CERT_FILE", "", "is not a file"),
        ("SSL_CERT_FILE", "text.pem", "contains no certificate"),
        ("SSL_CERT_DIR", "gone", "is not a folder"),
        ("SSLKEYLOGFILE", "gone/keys.log", "can't be written: No such file or directory"),
    ],
)
def test_a_variable_that_names_nothing_is_refused_with_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, path: str, said: str
) -> None:
    (tmp_path / "text.pem").write_text("no certificate\n")
    monkeypatch.setenv(variable, str(tmp_path / path))
    for url in ("https://api.example", "http://127.0.0.1:8000", None):
        with pytest.raises(ConfigError) as refused:
            check_environment([url])
        assert str(refused.value).startswith(f"{variable} = {tmp_path / path} {said}")


def test_variables_that_name_what_is_there_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", f"/no/such:{tmp_path}")
    check_environment(["https://api.example"])
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    monkeypatch.setenv("SSL_CERT_DIR", "/no/such")  # a file outweighs it
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    check_environment(["https://api.example"])
