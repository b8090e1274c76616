"""Prints a contract for people: from the file, from options, and what is not used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ops.models.contract import OWNER_KEYS, noted_missing
from ops.models.importing import PreparedImport
from ops.models.options import MAX_EXPECTED_ROWS
from ops.models.source import Source
from shared.models.activation.features import shown
from shared.models.activation.inspection import ModelInspection
from shared.models.contract import Contract, Feature, Kind, Trees, TreesReason

#: Labels of a category that are shown, and characters of an attribute.
_LABELS, _CHARACTERS = 6, 80

#: A line: what it is about, and the text.
type _Line = tuple[str, str]


def describe_import(prepared: PreparedImport) -> str:
    """Write the contract that a model is added with."""
    contract, document = prepared.draft.contract, prepared.draft.contract.document()
    lines = [("model", f"{contract.id}, from {prepared.options.file}")]
    lines += _contract_lines(contract, prepared.source, prepared.options.missing)
    lines += [(key, json.dumps(document[key], ensure_ascii=False)) for key in OWNER_KEYS if document[key]]
    return _joined([*lines, *_rows_lines(prepared), *_unused(prepared.source.inspection)])


def describe_file(contract: Contract, source: Source) -> str:
    """Write what a model file says of itself, which is the contract without any option."""
    return _joined([*_contract_lines(contract, source, None), *_unused(source.inspection)])


def _joined(lines: list[_Line]) -> str:
    return "\n".join(f"  {what:10}  {text}" for what, text in lines)


def _contract_lines(contract: Contract, source: Source, missing: Sequence[float] | None) -> Iterator[_Line]:
    """Give the lines about the trees, outputs and features; `missing` is what the option says."""
    seen = source.inspection
    yield "objective", f"{seen.objective} ({seen.booster}), read by XGBoost {seen.library_version}"
    yield "trees", _trees(seen, contract.trees or Trees(0, 0))
    yield "outputs", f"{', '.join(contract.outputs)}; link {contract.link}"
    yield "missing", _missing(contract.missing, missing, noted_missing(seen.attributes))
    unnamed = "" if seen.named else "; the file has no names, so rows use f0, f1, …"
    yield "features", f"{len(seen.features)}{unnamed}"
    for feature, given, splits in zip(contract.features, seen.features, source.splits, strict=True):
        yield "", f"{feature.name!r}  {feature.kind}{_labels(feature, given, splits.highest_code)}"
        if "\\u" in feature.name:
            yield "", "  XGBoost does not decode \\u in JSON: the name has a backslash in it"


def _trees(seen: ModelInspection, trees: Trees) -> str:
    if not trees.total:
        linear = seen.booster == "gblinear"
        return f"none: {'a linear model (gblinear) has weights' if linear else 'it was trained for 0 rounds'}"
    why = "all"
    if trees.reason is TreesReason.BEST_ITERATION:
        why = "best_iteration, as model.predict uses them; --trees all for all"
    elif trees.reason is TreesReason.CHOSEN:
        why = "as --trees says"
    elif seen.best_iteration is not None:
        why = f"as --trees all says; model.predict uses {seen.best_iteration + 1} (best_iteration)"
    return f"{trees.used} of {trees.total} rounds: {why}"


def _missing(markers: tuple[float, ...], given: Sequence[float] | None, noted: tuple[float, ...]) -> str:
    """Say which numbers mean "missing", by option or file, and what the option overrules."""
    if not markers and given is None:
        return "NaN; a number that meant 'missing' in training is not in the file, so give it with --missing"
    text = ", ".join(["NaN", *(f"{marker:.10g}" for marker in markers)])
    if given is None:
        return f"{text} (from the file's scikit_learn attribute)"
    overruled = [f"; the file's scikit_learn attribute says {one:.10g}" for one in noted if one not in given]
    said = f"{text} (from --missing)" if markers else "NaN only (from --missing none)"
    return said + "".join(overruled)


def _labels(feature: Feature, found: Feature, highest: int | None) -> str:
    if feature.kind is not Kind.CATEGORY:
        return ""
    if not feature.labels:
        known = "" if highest is None else f" (the trees split at codes up to {highest})"
        return f"  rows hold codes 0, 1, …: the file has no labels{known}; name them with --labels"
    codes = "numbers" if found.kind is Kind.NUMBER else "codes"
    named = "" if found.labels else f"; the model was trained on {codes} 0, 1, …, which --labels names"
    return f"  {shown(feature.labels, _LABELS)}{named}"


def _rows_lines(prepared: PreparedImport) -> Iterator[_Line]:
    draft, agreement = prepared.draft, prepared.agreement
    background = "none, so method=interventional is refused; add rows with --background"
    if draft.background is not None:
        background = _sampled(len(draft.background), prepared.background_rows)
        background += " (--background-rows N for more or fewer)" * ("evenly" in background)
    yield "background", background
    if draft.examples is not None:
        kept = _sampled(len(draft.examples), prepared.examples_rows)
        yield "examples", f"{kept}. Every API key can read these rows."
    if agreement is not None:
        count = len(agreement.rows)
        agreed = f"{count} rows agree with your margins (largest difference {agreement.difference:.1g})"
        stored = min(count, MAX_EXPECTED_ROWS)
        yield "checked", f"{agreed}; {stored} are kept to verify the model at activation"


def _sampled(kept: int, count: int) -> str:
    return f"{kept:,} rows" if kept == count else f"{kept:,} of {count:,} rows, evenly spaced"


def _unused(seen: ModelInspection) -> Iterator[_Line]:
    """Name what the file says and nothing here uses."""
    for key, value in sorted(seen.attributes.items()):
        text = value if len(value) <= _CHARACTERS else f"{value[:_CHARACTERS]}…"
        linear = key == "best_iteration" and seen.booster == "gblinear"
        why = " (XGBoost's predict ignores it for linear models)" if linear else ""
        yield "not used", f"{key} = {text!r}{why}"
