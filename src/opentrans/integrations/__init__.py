"""The subnetwork and the freeze plan in other frameworks; each module imports its framework, and only when asked for.

`pytorch`: plain functions. `lightning`, `huggingface`, `detectron2`: hooks and callbacks. `fcclip`: checkpoints of
the published FC-CLIP.
"""
