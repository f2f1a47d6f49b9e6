# What DVC's stages of the same names ask for; each is also a target by hand, `snakemake training`.


rule prepare:
    input:
        get_all_prepared(),


rule teacher:
    input:
        TEACHER,
        REGIONS,
        get_text_files(),


rule subnetworks:
    input:
        get_masks(),


rule freeze_plans:
    input:
        get_plans(),


rule training:
    input:
        get_checkpoints(),


rule evaluations:
    input:
        get_evaluations(CONFIG.tables),
