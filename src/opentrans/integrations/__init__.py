"""The subnetwork and the freeze plan in other frameworks; each module imports its framework, and only when asked for.

`lightning`, `huggingface`, `detectron2`: callbacks and hooks over `schedule`, which knows no framework.
`fcclip`, `runs`: checkpoints of the published FC-CLIP, as tensors and as a folder of results.
`named_model`: a model named on the command line.
"""
