# The workflow itself is in workflow/, where Snakemake's catalogue looks for it.
include: "workflow/Snakefile"
