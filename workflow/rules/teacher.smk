if CONFIG.teacher.pretraining:

    rule train_teacher:
        input:
            DATA.manifest,
        output:
            teacher=RESULTS.teacher,
            log=RESULTS.teacher_log,
            zero_shot=RESULTS.zero_shot,
        log:
            RESULTS.log("train_teacher"),
        benchmark:
            RESULTS.job("train_teacher")
        conda:
            "../envs/torch.yaml"
        threads: CONFIG.threads.teacher
        resources:
            mem_mb=4000,
            runtime=30,
            gpu=min(1, get_gpus("teacher")),
        params:
            settings=get_settings(
                "teacher.architecture", "teacher.pretraining", "threads.teacher"
            ),
            code=hash_sources("train-teacher"),
            captions=lambda wildcards: str(FILES.get_data(wildcards).captions),
            seed=get_seed_option,
            config=get_config_file,
        message:
            "Training the mini world's CLIP"
        shell:
            "python -m opentrans.system.launch {resources.gpu} train-teacher --config {params.config:q} {params.seed:q} --captions {params.captions:q}"
            " --output {output.teacher:q} --log {output.log:q} --zero-shot {output.zero_shot:q} > {log:q} 2>&1"

else:

    # On the machine that submits: compute nodes seldom have a network.
    localrules:
        import_teacher,

    rule import_teacher:
        output:
            teacher=RESULTS.teacher,
        log:
            RESULTS.log("import_teacher"),
        benchmark:
            RESULTS.job("import_teacher")
        conda:
            "../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=8000,
            runtime=30,
        params:
            settings=get_settings("teacher.architecture", "teacher.pretrained"),
            code=hash_sources("import-teacher"),
            config=get_config_file,
        message:
            "Importing CLIP's weights"
        shell:
            "python -m opentrans import-teacher --config {params.config:q} --output {output.teacher:q} > {log:q} 2>&1"


rule embed_vocabularies:
    input:
        CONFIG.teacher.name_lists.values(),
        vocabularies=FILES.get_vocabularies(),
        teacher=RESULTS.teacher,
    output:
        FILES.get_texts(),
    log:
        RESULTS.log("embed_vocabularies"),
    benchmark:
        RESULTS.job("embed_vocabularies")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_memory("teacher"),
        runtime=60,
        gpu=min(1, get_gpus("teacher")),
    params:
        settings=get_settings("teacher.templates", "teacher.name_lists", "threads.run"),
        code=hash_sources("embed-vocabularies"),
        vocabularies=name_files("vocabularies", FILES.set_names),
        prompts=FILES.prompts,
        folder=lambda wildcards, output: str(Path(output[0]).parents[1]),
        config=get_config_file,
    message:
        "Text embeddings of all vocabularies"
    shell:
        "python -m opentrans.system.launch {resources.gpu} embed-vocabularies --config {params.config:q} --teacher {input.teacher:q}"
        " --vocabularies {params.vocabularies:q} --prompts {params.prompts:q} --output {params.folder:q} > {log:q} 2>&1"


rule embed_nouns:
    input:
        FILES.get_training_set(),
        nouns=DATA.nouns,
        teacher=RESULTS.teacher,
    output:
        nouns=RESULTS.nouns,
    log:
        RESULTS.log("embed_nouns"),
    benchmark:
        RESULTS.job("embed_nouns")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_memory("teacher"),
        runtime=60,
        gpu=min(1, get_gpus("teacher")),
    params:
        settings=get_settings("threads.run"),
        code=hash_sources("embed-nouns"),
        dataset=get_dataset,
        config=get_config_file,
    message:
        "Text embeddings of the captions' nouns"
    shell:
        "python -m opentrans.system.launch {resources.gpu} embed-nouns --config {params.config:q} --teacher {input.teacher:q}"
        " --dataset {params.dataset:q} --nouns {input.nouns:q} --output {output.nouns:q} > {log:q} 2>&1"


rule embed_regions:
    input:
        FILES.get_training_set(),
        teacher=RESULTS.teacher,
    output:
        regions=RESULTS.regions,
    log:
        RESULTS.log("embed_regions"),
    benchmark:
        RESULTS.job("embed_regions")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_memory("teacher"),
        runtime=limit_time(720),
        gpu=min(1, get_gpus("teacher")),
    params:
        settings=get_settings(
            "teacher.region_encoding",
            "teacher.region_batch_size",
            "data",
            "threads.run",
        ),
        code=hash_sources("embed-regions"),
        dataset=get_dataset,
        config=get_config_file,
    message:
        "CLIP embeddings of the training set's regions"
    shell:
        "python -m opentrans.system.launch {resources.gpu} embed-regions --config {params.config:q} --teacher {input.teacher:q}"
        " --dataset {params.dataset:q} --output {output.regions:q} > {log:q} 2>&1"
