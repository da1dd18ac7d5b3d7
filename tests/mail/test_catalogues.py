import re
from pathlib import Path

import pytest
from babel.messages.checkers import python_format
from babel.messages.extract import extract_from_dir

import authapi.mail
from authapi.enums import Locale, MailKind
from authapi.languages import choose_locale
from authapi.templates import load_catalogue

TEMPLATES = Path(authapi.mail.__file__).parent / "templates"
TRANSLATED = [locale for locale in Locale if locale is not Locale.EN]
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


def extracted() -> set[str]:
    """Every text of the templates that wants a translation."""
    found = extract_from_dir(
        str(TEMPLATES),
        method_map=[("**.*", "jinja2")],
        options_map={"**.*": {"trimmed": "true", "silent": "false"}},
    )
    return {message for _, _, message, *_ in found if isinstance(message, str)}


class TestCatalogues:
    def test_every_kind_has_a_template_and_every_template_a_kind(self) -> None:
        assert {path.stem for path in TEMPLATES.glob("*.jinja")} == {kind.value for kind in MailKind}

    def test_the_templates_hold_texts(self) -> None:
        assert len(extracted()) > 40

    @pytest.mark.parametrize("locale", TRANSLATED)
    def test_each_is_complete_and_has_nothing_else(self, locale: Locale) -> None:
        catalogue = load_catalogue("mail", locale)
        translated = {str(m.id) for m in catalogue if m.id and m.string and not m.fuzzy}
        assert translated == extracted()

    @pytest.mark.parametrize("locale", TRANSLATED)
    def test_translations_have_the_same_placeholders(self, locale: Locale) -> None:
        catalogue = load_catalogue("mail", locale)
        for message in catalogue:
            if not message.id:
                continue
            original, translation = str(message.id), str(message.string)
            assert sorted(PLACEHOLDER.findall(translation)) == sorted(PLACEHOLDER.findall(original)), original
            assert "%" not in PLACEHOLDER.sub("", translation), original
            assert translation != original
            if message.python_format:
                python_format(catalogue, message)

    @pytest.mark.parametrize("locale", TRANSLATED)
    def test_translations_end_as_the_original_does(self, locale: Locale) -> None:
        ends = {".": ".।", ":": ":", ",": ",:"}
        for message in load_catalogue("mail", locale):
            original, translation = str(message.id), str(message.string)
            if original and original[-1] in ends:
                assert translation[-1] in ends[original[-1]], translation

    @pytest.mark.parametrize(
        ("wanted", "chosen"), [("de", "de"), ("DE_at", "de"), ("hi-Latn-IN", "hi"), ("pt", "en"), ("", "en")]
    )
    def test_choosing(self, wanted: str, chosen: str) -> None:
        assert choose_locale(wanted) == chosen
