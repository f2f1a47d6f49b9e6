# The workflow itself is in workflow/, where Snakemake's catalogue looks for it.
# The `include:` directive would make this file, which has no rules, the source of the default target.
workflow.include("workflow/Snakefile", overwrite_default_target=True)
