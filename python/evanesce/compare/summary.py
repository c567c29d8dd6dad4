"""Each dimension of a model in a few words: what the terminal's table and the report's first one say."""

from __future__ import annotations

from evanesce.compare.results import (
    Agility,
    AtRest,
    Insider,
    Latency,
    Model,
    NotMeasured,
    Recovery,
    Regulatory,
    Switch,
    Timing,
)

Measured = AtRest | Insider | Latency | Agility | Recovery | Regulatory

DEEDS = ("use", "exfiltrate", "destroy")


def cell(model: Model, dimension: str) -> str:
    """Several lines of words."""
    found: Measured | NotMeasured = getattr(model, dimension)
    match found:
        case NotMeasured():
            return f"not measured here: {found.reason}"
        case AtRest():
            kept: dict[str, list[str]] = {}
            for store in found.keeping:
                kept.setdefault(store.keeps, []).append(store.holder)
            where = [store.holder for store in found.stores if store.hits]
            if found.hits is None:
                lies = "nobody has ever known its bytes, so they were not searched for"
            else:
                lies = f"its bytes were found in {', '.join(where)}" if where else "its bytes were found nowhere"
            words = "seen" if found.hits is None else "searched"
            searched = f"{len(found.stores)} stores, {size(found.searched_bytes)} {words}"
            at = "; ".join(f"{what} ({'; '.join(holders)})" for what, holders in kept.items())
            rests = f"rests: {at or 'nothing of the key'}"
            return f"{rests}\n{lies}; {searched}\nanother key adds: {small(found.per_key)}"
        case Insider():
            return "\n".join(f"{can}: {smallest(found, can)}" for can in DEEDS)
        case Latency():
            lines = [f"{t.suite} {quantiles(t.p50_ms, t.p99_ms)}{_per_second(t)}" for t in found.timings]
            return "\n".join(["p50 / p99, operations a second", *lines])
        case Agility():
            return "\n".join(f"{one.before} → {one.after}: {switch(one)}" for one in found.switches)
        case Recovery():
            first = found.seconds_to_first
            after = f"works again after {seconds(first)}" if first is not None else "does not work again"
            return f"lost: {found.lost}\n{after}\nkept beforehand: {small(found.backup)}"
        case Regulatory():
            return (
                f"{found.count('full')} clauses in full, {found.count('partial')} in part, {found.count('none')} none"
            )


def switch(one: Switch) -> str:
    """What a change of algorithm took, in words."""
    if one.seconds is None:
        return "cannot be done"
    counts = ((one.steps, "step"), (one.devices, "device"), (one.ceremonies, "ceremony"))
    return ", ".join([*(counted(number, word) for number, word in counts), seconds(one.seconds)])


def smallest(insider: Insider, can: str) -> str:
    """The smallest coalition, and those of each kind of party among their own, in words; and where the smallest was not
    carried out, that, and why."""
    listed = insider.coalitions.get(can, ())
    if not listed:
        return "nobody"
    of = insider.by_kind.get(can, {})
    words = [counted(count, kind) for kind, count in sorted(of.items(), key=lambda pair: pair[1])]
    if len(listed[0].members) < min(of.values(), default=10**9):
        words.insert(0, " + ".join(listed[0].members))
    said = ", or ".join(words)
    if (why := insider.computed.get(can)) is None:
        return said
    return f"{said}; the smallest, {' + '.join(listed[0].members)}, is computed and not carried out: {why}"


def rate(timing: Timing) -> str:
    """Operations a second, and how many at once; nothing where that was not measured."""
    if timing.rate is None:
        return ""
    at_once = f"{timing.in_flight} in flight" if timing.in_call == 1 else f"{timing.in_call} in a call"
    return f"{timing.rate:,.0f} /s, {at_once}"


def _per_second(timing: Timing) -> str:
    return "" if timing.rate is None else f", {timing.rate:,.0f} /s"


def small(words: str) -> str:
    """A sentence that goes on after a colon."""
    return words[:1].lower() + words[1:]


def counted(number: int, word: str) -> str:
    """A number and its word, in the plural where it is not one."""
    if number == 1:
        return f"1 {word}"
    return f"{number} {word[:-1]}ies" if word.endswith("y") else f"{number} {word}s"


def quantiles(p50_ms: float | None, p99_ms: float | None) -> str:
    """Both; nothing where they were not measured."""
    return "" if p50_ms is None or p99_ms is None else f"{milliseconds(p50_ms)} / {milliseconds(p99_ms)}"


def milliseconds(value: float) -> str:
    """With three figures or four; in µs or s where that is shorter."""
    if value >= 10_000:
        return f"{value / 1e3:.0f} s"
    if value < 0.1:
        return f"{value * 1e3:.3g} µs"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def seconds(value: float) -> str:
    return milliseconds(value * 1e3) if value < 1 else f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def size(count: int) -> str:
    if count < 10_000:
        return f"{count} bytes"
    return f"{count / 1024:.0f} KiB" if count < 10 << 20 else f"{count / (1 << 20):.0f} MiB"
