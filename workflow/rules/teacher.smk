if CONFIG.teacher.pretraining:

    rule train_teacher:
        input:
            f"{WORLD}/manifest.json",
        output:
            teacher=TEACHER,
            log=f"{RESULTS}/teacher/log.csv",
            zero_shot=f"{RESULTS}/teacher/zero_shot.json",
        log:
            f"{LOGS}/train_teacher.log",
        benchmark:
            f"{JOBS}/train_teacher.tsv"
        conda:
            "../envs/torch.yaml"
        threads: CONFIG.threads.teacher
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            settings=get_settings(
                "teacher.architecture", "teacher.pretraining", "threads.teacher"
            ),
            code=get_code("train-teacher"),
            captions=get_captions,
            config=get_config_file,
        message:
            "Training the mini world's CLIP"
        shell:
            "python -m opentrans train-teacher --config {params.config} --captions {params.captions}"
            " --output {output.teacher} --log {output.log} --zero-shot {output.zero_shot} > {log} 2>&1"

else:

    rule import_teacher:
        output:
            teacher=TEACHER,
        log:
            f"{LOGS}/import_teacher.log",
        benchmark:
            f"{JOBS}/import_teacher.tsv"
        conda:
            "../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=8000,
            runtime=30,
        params:
            settings=get_settings("teacher.architecture", "teacher.pretrained"),
            code=get_code("import-teacher"),
            config=get_config_file,
        message:
            "Importing CLIP's weights"
        shell:
            "python -m opentrans import-teacher --config {params.config} --output {output.teacher} > {log} 2>&1"


rule embed_vocabularies:
    input:
        vocabularies=get_vocabularies(),
        teacher=TEACHER,
    output:
        get_text_files(),
    log:
        f"{LOGS}/embed_vocabularies.log",
    benchmark:
        f"{JOBS}/embed_vocabularies.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_teacher_memory,
        runtime=60,
        gpu=min(1, get_gpus("teacher")),
    params:
        settings=get_settings("teacher.templates", "threads.run"),
        code=get_code("embed-vocabularies"),
        vocabularies=get_vocabulary_options,
        prompts=PROMPTS,
        folder=get_text_folder,
        config=get_config_file,
    message:
        "Text embeddings of all vocabularies"
    shell:
        "python -m opentrans embed-vocabularies --config {params.config} --teacher {input.teacher}"
        " --vocabularies {params.vocabularies} --prompts {params.prompts} --output {params.folder} > {log} 2>&1"


rule embed_regions:
    input:
        get_prepared(*TRAINING_SET),
        teacher=TEACHER,
    output:
        regions=REGIONS,
    log:
        f"{LOGS}/embed_regions.log",
    benchmark:
        f"{JOBS}/embed_regions.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_teacher_memory,
        runtime=720,
        gpu=min(1, get_gpus("teacher")),
    params:
        settings=get_settings(
            "teacher.region_encoding",
            "teacher.region_batch_size",
            "data",
            "threads.run",
        ),
        code=get_code("embed-regions"),
        dataset=get_dataset,
        config=get_config_file,
    message:
        "CLIP embeddings of the training set's regions"
    shell:
        "python -m opentrans embed-regions --config {params.config} --teacher {input.teacher}"
        " --dataset {params.dataset} --output {output.regions} > {log} 2>&1"
