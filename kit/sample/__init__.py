"""A generated data set: little films of real pictures and sounds; an oracle."""

from kit.sample.card import is_sample, load_answers, read_card
from kit.sample.files import film, write_sample
from kit.sample.oracle import Oracle
