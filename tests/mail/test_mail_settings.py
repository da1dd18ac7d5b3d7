import pytest

from authapi.settings import InvalidSettings, load_settings
from tests.support.command import forget_settings


class TestMailSettings:
    @pytest.fixture(autouse=True)
    def _no_settings(self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
        forget_settings(monkeypatch)
        monkeypatch.chdir(tmp_path_factory.mktemp("empty"))

    @pytest.mark.parametrize(
        "url",
        [
            "smtp://",
            "smtps://:465",
            "smtp://mail.example.org:0",
            "smtp://mail.example.org:99999",
            "smtp://user:pa/ss@mail.example.org",
            "smtps://user:pa#ss@mail.example.org",
            "smtps://user:pa?ss@mail.example.org",
            "smtps://mail.example.org/inbox",
            "file://mails",
            "file:///",
            "http://mail.example.org",
            "mail.example.org",
        ],
    )
    def test_a_url_that_would_not_do_what_it_says(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        monkeypatch.setenv("AUTHAPI_MAIL__URL", url)
        with pytest.raises(InvalidSettings) as invalid:
            load_settings()
        (problem,) = invalid.value.problems
        assert problem.startswith("AUTHAPI_MAIL__URL: must ")
        assert "pa" not in problem.replace("path", "").replace("password", "")

    @pytest.mark.parametrize(
        "url",
        [
            "console://",
            "file:///var/mail",
            "smtp://localhost:2525",
            "smtp+starttls://user:p%40ss@mail.example.org",
            "smtps://[2001:db8::1]:465/",
        ],
    )
    def test_urls_that_do(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        monkeypatch.setenv("AUTHAPI_MAIL__URL", url)
        assert load_settings().mail.url == url

    @pytest.mark.parametrize(
        "sender",
        [
            "nobody",
            "a@b@c",
            "Me <me@example.com>\nBcc: x@example.com",
            "Zoë <zoë@example.com>",
            "<a>",
            "a b@c.de",
        ],
    )
    def test_senders_that_no_server_takes(self, monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
        monkeypatch.setenv("AUTHAPI_MAIL__FROM", sender)
        with pytest.raises(InvalidSettings, match="AUTHAPI_MAIL__FROM: must look like"):
            load_settings()

    @pytest.mark.parametrize(
        "sender", ["me@example.com", "Zoë’s shop <no-reply@shop.example>", "a <a@localhost>"]
    )
    def test_senders(self, monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
        monkeypatch.setenv("AUTHAPI_MAIL__FROM", sender)
        assert load_settings().mail.sender == sender
