"""Faces whose action units are known, drawn on any machine, free of any corpus' licence."""

from fgnet_plugin.training.rendered.corpus import AUS, RenderedCorpus
from fgnet_plugin.training.rendered.domains import DOMAINS, Domain
from fgnet_plugin.training.rendered.export import write_corpus
from fgnet_plugin.training.rendered.head_corpus import HeadCorpus

__all__ = ["AUS", "DOMAINS", "Domain", "HeadCorpus", "RenderedCorpus", "write_corpus"]
