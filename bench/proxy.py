"""Agents as far away as one likes: the package's own, which `evanesce compare` uses too."""

from evanesce._distance import Proxy, Tap

__all__ = ["Proxy", "Tap"]
