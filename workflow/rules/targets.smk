# What DVC's stages of the same names ask for; each is also a target by hand, `snakemake training`.


rule prepare:
    input:
        FILES.prepared,


rule teacher:
    input:
        RESULTS.teacher,
        RESULTS.regions,
        FILES.texts,


rule subnetworks:
    input:
        FILES.get_subnetworks(),


rule freeze_plans:
    input:
        FILES.get_freeze_plans(),


rule training:
    input:
        FILES.get_checkpoints(),


rule evaluations:
    input:
        FILES.get_evaluations(CONFIG.tables),
