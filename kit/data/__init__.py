"""Shards -> batches: snippets to train on, whole videos, ratings.

Features stay uint8 from the disk to the device; the model dequantises them.
"""

from kit.data.batches import Bags, Snippets, videos
from kit.data.reading import check, find_video, ratings, read_shard
from kit.data.records import Video
from kit.data.shards import list_shards
from kit.data.tables import read_classes
from kit.data.writer import write_shard
