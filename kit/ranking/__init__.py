"""Rankings: per class, segments best first, and how they are collected."""

from kit.ranking.table import Ranking
from kit.ranking.topk import TopK
