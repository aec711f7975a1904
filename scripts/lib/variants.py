"""Versions of one adapter that can be told apart by their answers.

Variant k adds a known amount to one class's bias and to that class's probe logits, so it passes the probe and every
logit it must give follows from those of variant 0.
"""

import tensor_file


def offsets(classes, k):
    """What variant k adds to each logit."""
    added = [0.0] * classes
    if k:
        added[k % classes] = 0.5 + k / 256  # exact in float32
    return added


def variant(content, k):
    """The adapter file's bytes as variant k."""
    view = tensor_file.View(bytearray(content))
    (classes,) = view.shape("head.bias")
    added = offsets(classes, k)
    for name in ("head.bias", "probe.logits"):
        if name in view.entries:
            values = view.get(name)
            for at in range(len(values)):
                values[at] += added[at % classes]
            view.set(name, values)
    return bytes(view.content)
