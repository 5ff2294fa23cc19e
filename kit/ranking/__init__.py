"""Rankings: per class, segments best first, and how they are collected."""

from kit.ranking.table import Ranking, as_ids, check_classes, sort_key
from kit.ranking.topk import TopK

__all__ = ["Ranking", "TopK", "as_ids", "check_classes", "sort_key"]
