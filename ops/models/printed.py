"""Prints a contract for people: from the file, from options, and what is not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ops.models.importing import PreparedImport
from ops.models.options import MAX_EXPECTED_ROWS
from ops.models.source import Source
from ops.models.splits import Splits
from ops.models.trees import choose_trees, explain_trees
from ops.models.wrapper_notes import noted_missing
from shared.models.activation.features import shown
from shared.models.activation.inspection import ModelInspection
from shared.models.contract import Feature, Kind, link_of

#: Labels of a category that are shown, and characters of an attribute.
_LABELS, _CHARACTERS = 6, 80
#: Where a file notes a missing marker.
_NOTED = "the file's scikit_learn attribute"


def describe_inspection(source: Source) -> str:
    """Write what a model file says of itself."""
    seen = source.inspection
    if (
        seen.booster == "gblinear"
        or seen.best_iteration is not None
        or "best_iteration" not in seen.attributes
    ):
        trees = explain_trees(seen, choose_trees(seen, None))
    else:
        trees = f"{seen.rounds} rounds; the file's best_iteration, {seen.attributes['best_iteration']!r}, is none of them"
    missing = noted_missing(seen.attributes)
    return "\n".join(
        [
            _line("objective", f"{seen.objective} ({seen.booster}), read by XGBoost {seen.library_version}"),
            _line("trees", trees),
            _line("outputs", f"{seen.outputs}; link {link_of(seen.objective)}"),
            _line("missing", _missing(missing, _NOTED if missing else None)),
            *_features(seen.features, source.splits, named=seen.named),
            *_unused(seen),
        ]
    )


def describe_import(prepared: PreparedImport) -> str:
    """Write the contract that a model is added with."""
    contract, options, seen = prepared.draft.contract, prepared.options, prepared.source.inspection
    trees = contract.trees or choose_trees(seen, options.trees)
    lines = [
        _line("model", f"{contract.id}, from {options.file}"),
        _line("objective", f"{seen.objective} ({seen.booster}), read by XGBoost {seen.library_version}"),
        _line("trees", explain_trees(seen, trees)),
        _line("outputs", f"{', '.join(contract.outputs)}; link {contract.link}"),
        _line("missing", _settled_missing(contract.missing, options.missing, noted_missing(seen.attributes))),
        *_features(contract.features, prepared.source.splits, named=seen.named),
        *_code_lines(contract.features, seen.features),
        *_owner_lines(prepared),
        *_rows_lines(prepared),
        *_unused(seen),
    ]
    return "\n".join(lines)


def _owner_lines(prepared: PreparedImport) -> Iterator[str]:
    contract = prepared.draft.contract
    for name, members in contract.groups.items():
        yield _line("group", f"{name!r}: {shown(members)}")
    for name, reason in contract.reasons.items():
        yield _line("reason", f"{name!r}: {reason.code} {reason.text!r}")
    if contract.never_reasons:
        yield _line("never", shown(contract.never_reasons))
    if contract.adverse:
        yield _line("adverse", str(contract.adverse))


def _rows_lines(prepared: PreparedImport) -> Iterator[str]:
    draft, agreement = prepared.draft, prepared.agreement
    if draft.background is None:
        yield _line("background", "none, so method=interventional is refused; add rows with --background")
    else:
        yield _line(
            "background", _sampled(len(draft.background), prepared.background_rows, "--background-rows")
        )
    if draft.examples is not None:
        kept = _sampled(len(draft.examples), prepared.examples_rows, "--examples-rows")
        yield _line("examples", f"{kept}. Every API key can read these rows.")
    if agreement is not None:
        stored = min(len(agreement.rows), MAX_EXPECTED_ROWS)
        agreed = f"{len(agreement.rows)} rows agree with your margins (largest difference {agreement.difference:.1g})"
        yield _line("checked", f"{agreed}; {stored} are kept to verify the model at activation")


def _sampled(kept: int, count: int, option: str) -> str:
    if kept == count:
        return f"{kept:,} rows"
    return f"{kept:,} of {count:,} rows, evenly spaced ({option} N for more or fewer)"


def _settled_missing(
    markers: tuple[float, ...], given: tuple[float, ...] | None, noted: tuple[float, ...]
) -> str:
    """Say which numbers mean "missing", by option or file, and what the option overrules."""
    if given is None:
        return _missing(markers, _NOTED if markers else None)
    said = _missing(markers, "--missing") if markers else "NaN only (from --missing none)"
    overruled = [f"{marker:.10g}" for marker in noted if marker not in given]
    return f"{said}; {_NOTED} says {', '.join(overruled)}" if overruled else said


def _missing(markers: tuple[float, ...], source: str | None) -> str:
    if not markers:
        return "NaN; a number that meant 'missing' in training is not in the file, so give it with --missing"
    return f"NaN, {', '.join(f'{marker:.10g}' for marker in markers)} (from {source})"


def _features(features: tuple[Feature, ...], splits: tuple[Splits, ...], *, named: bool) -> Iterator[str]:
    unnamed = "" if named else "; the file has no names, so rows use f0, f1, …"
    yield _line("features", f"{len(features)}{unnamed}")
    for feature, split in zip(features, splits, strict=True):
        yield f"  {'':10}  {feature.name!r}  {feature.kind}{_labels_text(feature, split)}"
        if "\\u" in feature.name:
            yield f"  {'':10}    XGBoost does not decode \\u in JSON: the name has a backslash in it"


def _code_lines(features: tuple[Feature, ...], found: tuple[Feature, ...]) -> Iterator[str]:
    """Say of which features --labels names the codes."""
    for feature, before in zip(features, found, strict=True):
        if feature.labels and not before.labels:
            numbers = (
                "numbers 0, 1, … that it splits as numbers" if before.kind is Kind.NUMBER else "codes 0, 1, …"
            )
            yield _line(
                "labels", f"{feature.name!r}: the model was trained on {numbers}; --labels names them"
            )


def _labels_text(feature: Feature, splits: Splits) -> str:
    if feature.kind is not Kind.CATEGORY:
        return ""
    if not feature.labels:
        highest = (
            "" if splits.highest_code is None else f" (the trees split at codes up to {splits.highest_code})"
        )
        return f"  rows hold codes 0, 1, …: the file has no labels{highest}; name them with --labels"
    return f"  {shown(feature.labels, _LABELS)}"


def _unused(seen: ModelInspection) -> Iterator[str]:
    """Name what the file says and nothing here uses."""
    for key, value in _sorted(seen.attributes):
        text = value if len(value) <= _CHARACTERS else f"{value[:_CHARACTERS]}…"
        why = ""
        if key == "best_iteration":
            why = " (XGBoost's predict ignores it for linear models)" if seen.booster == "gblinear" else ""
        yield _line("not used", f"{key} = {text!r}{why}")


def _sorted(attributes: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(attributes.items())


def _line(what: str, text: str) -> str:
    return f"  {what:10}  {text}"
