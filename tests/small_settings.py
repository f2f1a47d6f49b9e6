"""The smallest configuration there is, for tests of commands and readers that use little of it; they add the rest."""

SMALL = """
profile: test
seeds: [0]
device: cpu
data: {raw_root: nowhere}
benchmarks: [coco]
subnetworks: {dense: {method: dense}}
freezing: {none: {method: none}}
targets:
  deeplabv3:
    kind: deeplabv3
    prompts: plain
    training: {iterations: 1, warmup_iterations: 0, batch_size: 1, crop_size: 64, optimizer: {name: sgd, lr: 0.01}}
"""
