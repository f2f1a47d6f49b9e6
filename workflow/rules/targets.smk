# What DVC's stages of the same names ask for; each is also a target by hand, `snakemake training`.


rule prepare:
    input:
        [FILES.get_prepared(names) for names in FILES.worlds],
        [FILES.get_nouns(names) for names in FILES.worlds],


rule teacher:
    input:
        [FILES.get_results(names).teacher for names in FILES.worlds],
        [FILES.get_results(names).regions for names in FILES.worlds],
        [FILES.get_texts(names) for names in FILES.worlds],
        [FILES.get_noun_embeddings(names) for names in FILES.worlds],


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
