"""Prints a contract for people: from the file, from options, and what is not used."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ops.models.contract import OWNER_KEYS, noted_missing
from ops.models.importing import PreparedImport
from ops.models.options import MAX_EXPECTED_ROWS
from ops.models.source import Source
from shared.models.activation.features import shown
from shared.models.activation.inspection import ModelInspection
from shared.models.contract import Contract, Feature, Kind, Trees, TreesReason

#: Labels of a category that are shown, and characters of an attribute.
_LABELS, _CHARACTERS = 6, 80


def describe_import(prepared: PreparedImport) -> str:
    """Write the contract that a model is added with."""
    contract = prepared.draft.contract
    return "\n".join(
        [
            _line("model", f"{contract.id}, from {prepared.options.file}"),
            *describe_contract(contract, prepared.source, prepared.options.missing),
            *_owner_lines(contract),
            *_rows_lines(prepared),
            *_unused(prepared.source.inspection),
        ]
    )


def describe_file(contract: Contract, source: Source) -> str:
    """Write what a model file says of itself, which is the contract without any option."""
    return "\n".join([*describe_contract(contract, source, None), *_unused(source.inspection)])


def describe_contract(contract: Contract, source: Source, missing: tuple[float, ...] | None) -> Iterator[str]:
    """Give the lines about the trees, outputs and features; `missing` is what the option says."""
    seen = source.inspection
    yield _line("objective", f"{seen.objective} ({seen.booster}), read by XGBoost {seen.library_version}")
    yield _line("trees", _trees(seen, contract.trees or Trees(0, 0)))
    yield _line("outputs", f"{', '.join(contract.outputs)}; link {contract.link}")
    yield _line("missing", _missing(contract.missing, missing, noted_missing(seen.attributes)))
    unnamed = "" if seen.named else "; the file has no names, so rows use f0, f1, …"
    yield _line("features", f"{len(seen.features)}{unnamed}")
    for feature, given, splits in zip(contract.features, seen.features, source.splits, strict=True):
        yield _line("", f"{feature.name!r}  {feature.kind}{_labels(feature, given, splits.highest_code)}")
        if "\\u" in feature.name:
            yield _line("", "  XGBoost does not decode \\u in JSON: the name has a backslash in it")


def _trees(seen: ModelInspection, trees: Trees) -> str:
    if seen.booster == "gblinear":
        return "none: a linear model (gblinear) has weights instead"
    if not trees.total:
        return "none: the model was trained for 0 rounds"
    why = "all"
    if trees.reason is TreesReason.BEST_ITERATION:
        why = "best_iteration, as model.predict uses them; --trees all for all"
    elif trees.reason is TreesReason.CHOSEN:
        why = "as --trees says"
    elif seen.best_iteration is not None:
        why = f"as --trees all says; model.predict uses {seen.best_iteration + 1} (best_iteration)"
    return f"{trees.used} of {trees.total} rounds: {why}"


def _missing(markers: tuple[float, ...], given: tuple[float, ...] | None, noted: tuple[float, ...]) -> str:
    """Say which numbers mean "missing", by option or file, and what the option overrules."""
    if not markers and given is None:
        return "NaN; a number that meant 'missing' in training is not in the file, so give it with --missing"
    text = ", ".join(["NaN", *(f"{marker:.10g}" for marker in markers)])
    if given is None:
        return f"{text} (from the file's scikit_learn attribute)"
    overruled = [f"{marker:.10g}" for marker in noted if marker not in given]
    said = f"{text} (from --missing)" if markers else "NaN only (from --missing none)"
    return f"{said}; the file's scikit_learn attribute says {overruled[0]}" if overruled else said


def _labels(feature: Feature, found: Feature, highest: int | None) -> str:
    if feature.kind is not Kind.CATEGORY:
        return ""
    if not feature.labels:
        known = "" if highest is None else f" (the trees split at codes up to {highest})"
        return f"  rows hold codes 0, 1, …: the file has no labels{known}; name them with --labels"
    codes = "numbers 0, 1, …" if found.kind is Kind.NUMBER else "codes 0, 1, …"
    named = "" if found.labels else f"; the model was trained on {codes}, which --labels names"
    return f"  {shown(feature.labels, _LABELS)}{named}"


def _owner_lines(contract: Contract) -> Iterator[str]:
    document = contract.document()
    for key in OWNER_KEYS:
        if document[key]:
            yield _line(key, json.dumps(document[key], ensure_ascii=False))


def _rows_lines(prepared: PreparedImport) -> Iterator[str]:
    draft, agreement = prepared.draft, prepared.agreement
    background = "none, so method=interventional is refused; add rows with --background"
    if draft.background is not None:
        background = _sampled(len(draft.background), prepared.background_rows, "--background-rows")
    yield _line("background", background)
    if draft.examples is not None:
        kept = _sampled(len(draft.examples), prepared.examples_rows, "--examples-rows")
        yield _line("examples", f"{kept}. Every API key can read these rows.")
    if agreement is not None:
        count = len(agreement.rows)
        agreed = f"{count} rows agree with your margins (largest difference {agreement.difference:.1g})"
        stored = min(count, MAX_EXPECTED_ROWS)
        yield _line("checked", f"{agreed}; {stored} are kept to verify the model at activation")


def _sampled(kept: int, count: int, option: str) -> str:
    spaced = "" if kept == count else f" of {count:,} rows, evenly spaced ({option} N for more or fewer)"
    return f"{kept:,}{spaced or ' rows'}"


def _unused(seen: ModelInspection) -> Iterator[str]:
    """Name what the file says and nothing here uses."""
    for key, value in sorted(seen.attributes.items()):
        text = value if len(value) <= _CHARACTERS else f"{value[:_CHARACTERS]}…"
        linear = key == "best_iteration" and seen.booster == "gblinear"
        why = " (XGBoost's predict ignores it for linear models)" if linear else ""
        yield _line("not used", f"{key} = {text!r}{why}")


def _line(what: str, text: str) -> str:
    return f"  {what:10}  {text}"
