rule make_world:
    output:
        manifest=DATA.manifest,
    log:
        RESULTS.log("make_world"),
    benchmark:
        RESULTS.job("make_world")
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("world"),
        code=hash_sources("make-world"),
        seed=get_seed_option,
        folder=get_folder,
        config=get_config_file,
    message:
        "Drawing the mini world in the official layouts"
    shell:
        "python -m opentrans make-world --config {params.config:q} {params.seed:q} --output {params.folder:q} > {log:q} 2>&1"


rule prepare_dataset:
    input:
        FILES.get_world(),
    output:
        stats=DATA.statistics(),
        index=DATA.index(),
        vocabulary=DATA.vocabulary(),
    log:
        RESULTS.log("prepare_dataset/{dataset}_{split}"),
    benchmark:
        RESULTS.job("prepare_dataset/{dataset}_{split}")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.prepare
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=get_settings("data"),
        code=hash_sources("prepare"),
        root=get_download_option,
        folder=get_folder,
        config=get_config_file,
    message:
        "Preparing {wildcards.dataset} {wildcards.split}"
    shell:
        "python -m opentrans prepare --config {params.config:q} --dataset {wildcards.dataset:q} --split {wildcards.split:q}"
        " {params.root:q} --workers {threads} --output {params.folder:q} > {log:q} 2>&1"


rule prepare_nouns:
    input:
        FILES.get_training_set(),
    output:
        nouns=DATA.nouns,
    log:
        RESULTS.log("prepare_nouns"),
    benchmark:
        RESULTS.job("prepare_nouns")
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=get_settings("data"),
        code=hash_sources("prepare-nouns"),
        root=get_download_option,
        dataset=get_dataset,
        config=get_config_file,
    message:
        "Nouns of the training images' captions"
    shell:
        "python -m opentrans prepare-nouns --config {params.config:q} --dataset {params.dataset:q} {params.root:q}"
        " > {log:q} 2>&1"
