"""Facts → one HTML file that needs nothing else: no server, no network, no second file.

A new page is a template that extends `base.html.j2`:

    {% extends "base.html.j2" %}
    {% from "macros.html.j2" import tile, chart %}
    {% block title %}Two runs{% endblock %}
    {% block heading %}Two runs{% endblock %}
    {% block lead %}<p>What changed.</p>{% endblock %}      under the heading
    {% block nav %}<a href="#cost">Cost</a>{% endblock %}   links to the page's sections
    {% block content %}<section id="cost">…</section>{% endblock %}

and `pieces = render("compare.html.j2", left=…, right=…)`. Where `static/compare.css` and
`static/compare.js` exist they come along behind `base.css` and `base.js`. Everything put in is
escaped; the Content-Security-Policy lets these scripts and styles run and nothing else, so there
are no `style=` and `onclick=` attributes.
"""

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from omni_batch import format as fmt
from omni_batch._version import __version__
from omni_batch.analytics.agreement import confusion_matrix
from omni_batch.analytics.report.quota_use import limits_in_words, rates_in_words, used_in_words
from omni_batch.progress import phrases

_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; "
    # Pictures and sound of the run lie beside the page: 'self' when it is served, file: on disk.
    "img-src data: 'self' file:; media-src 'self' file:; "
    "style-src {styles}; script-src {scripts}"
)
_NUMBERS = (
    *(fmt.count, fmt.short, fmt.share, fmt.money, fmt.duration, fmt.moment),
    *(phrases.cost, phrases.unbilled_and_in_doubt),
)
"""Filters of the templates under their own names."""


def render(template_name: str, **context: Any) -> Iterator[bytes]:
    """The page, piece by piece: the items of a large run are never held as one text.

    Args:
        template_name: such as `report.html.j2`; its stem names its own CSS and JS.
    """
    stem = template_name.partition(".")[0]
    styles = [_static("base.css"), _static(f"{stem}.css")]
    scripts = [_static("base.js"), _static(f"{stem}.js")]
    template = _environment().get_template(template_name)
    pieces = template.generate(
        policy=_POLICY.format(styles=_hashes(styles), scripts=_hashes(scripts)),
        styles=[Markup(text) for text in styles if text],
        early_script=Markup(scripts[0]),
        late_script=Markup(scripts[1]),
        version=__version__,
        made_at=datetime.now(UTC),
        **context,
    )
    return (piece.encode("utf-8", "replace") for piece in pieces)


def data_uri(jpeg: bytes) -> str:
    """A picture inside the page."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _share_bar(part: float | None, whole: float | None) -> Markup:
    """A small bar beside a number; the number itself says it, so it is hidden from readers."""
    width = 100 * min(1.0, (part or 0) / whole) if whole else 0
    return Markup(
        '<svg class="bar" aria-hidden="true"><rect class="rest" width="100%" height="100%"/>'
        '<rect width="{:.2f}%" height="100%"/></svg>'
    ).format(width)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("omni_batch.analytics.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {show.__name__: show for show in _NUMBERS}
    environment.filters |= {"limits": limits_in_words, "rates": rates_in_words}
    environment.filters |= {"used": used_in_words, "share_bar": _share_bar}
    environment.filters |= {"confusion_matrix": confusion_matrix}
    return environment


@cache
def _static(name: str) -> str:
    """A file of ours, empty where a page has none of its own."""
    path = files("omni_batch.analytics.report") / "static" / name
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _hashes(texts: list[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts if text)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
