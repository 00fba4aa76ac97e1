"""Document model families of transformers: their own config and processor classes, small sizes, random weights.

`build("qwen2_5_vl")` makes a model and its processor, `save` writes them as a checkpoint. Two tables say what is
particular to a family; widths, tokenizer and weights are the same for all. Image processors are the Pillow ones where
there are some, and parts for videos are stand-ins, so that few families need torchvision.
"""

from helpers.families.any_size import ANY_SIZE
from helpers.families.building import build_family
from helpers.families.own_size import OWN_SIZE

FAMILIES = ANY_SIZE | OWN_SIZE


def build(name, seed=0):
    """A model in evaluation mode, and its processor."""
    return build_family(FAMILIES[name], seed)


def save(name, folder):
    """The family's checkpoint in `folder`."""
    for part in build(name):
        part.save_pretrained(folder)
    return folder
