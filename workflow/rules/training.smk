rule warm_up:
    input:
        get_prepared(*TRAINING_SET),
        teacher=TEACHER,
        regions=REGIONS,
        text=get_train_text,
        subnetwork=f"{RESULTS}/subnetworks/{{subnetwork}}/seed{{seed}}/subnetwork.safetensors",
    output:
        checkpoint=f"{RESULTS}/warm_ups/{{target}}/{{subnetwork}}/seed{{seed}}/checkpoint.safetensors",
        log=f"{RESULTS}/warm_ups/{{target}}/{{subnetwork}}/seed{{seed}}/log.csv",
    log:
        f"{LOGS}/warm_up/{{target}}_{{subnetwork}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/warm_up/{{target}}_{{subnetwork}}_seed{{seed}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_run_memory,
        runtime=1440,
        gpu=get_run_gpus,
    params:
        settings=get_target_settings,
        code=get_code("train"),
        trace=get_trace_option,
        dataset=get_dataset,
        config=get_config_file,
    message:
        "Warm-up of {wildcards.target} with subnetwork {wildcards.subnetwork}, seed {wildcards.seed}"
    shell:
        "python -m opentrans.system.launch {resources.gpu} train --config {params.config} --phase warm-up --target {wildcards.target}"
        " --seed {wildcards.seed} --teacher {input.teacher} --train-text {input.text} --dataset {params.dataset}"
        " --regions {input.regions} --subnetwork {input.subnetwork} {params.trace} --output {output.checkpoint} --log {output.log}"
        " > {log} 2>&1"


rule fit_alphas:
    input:
        weights=get_fitted_weights,
        subnetwork=get_fitted_subnetwork,
    output:
        alphas=f"{RESULTS}/fits/{{target}}/{{subnetwork}}/{{fitted}}_{{estimator}}/seed{{seed}}/alphas.csv",
    log:
        f"{LOGS}/fit_alphas/{{target}}_{{subnetwork}}_{{fitted}}_{{estimator}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/fit_alphas/{{target}}_{{subnetwork}}_{{fitted}}_{{estimator}}_seed{{seed}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=get_settings("threads.run"),
        code=get_code("fit-alphas"),
        prefix=get_weights_prefix,
        before=get_before_mask_option,
        config=get_config_file,
    message:
        "Alpha of {wildcards.target}, {wildcards.subnetwork} ({wildcards.fitted}, {wildcards.estimator}), seed {wildcards.seed}"
    shell:
        "python -m opentrans fit-alphas --config {params.config} --estimator {wildcards.estimator}"
        " --weights {input.weights} --prefix {params.prefix} {params.before} --output {output.alphas} > {log} 2>&1"


rule plan_freeze:
    input:
        alphas=get_fit,
    output:
        plan=f"{RESULTS}/freeze_plans/{RUN}/plan.csv",
    log:
        f"{LOGS}/plan_freeze/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/plan_freeze/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=get_freeze_settings,
        code=get_code("plan-freeze"),
        config=get_config_file,
    message:
        "Freeze plan {wildcards.freeze} of {wildcards.target}, {wildcards.subnetwork}, seed {wildcards.seed}"
    shell:
        "python -m opentrans plan-freeze --config {params.config} --recipe {wildcards.freeze} --seed {wildcards.seed}"
        " --alphas {input.alphas} --output {output.plan} > {log} 2>&1"


rule train:
    input:
        get_prepared(*TRAINING_SET),
        teacher=TEACHER,
        regions=REGIONS,
        text=get_train_text,
        subnetwork=f"{RESULTS}/subnetworks/{{subnetwork}}/seed{{seed}}/subnetwork.safetensors",
        start=get_warm_up,
        plan=get_plan,
    output:
        checkpoint=f"{RESULTS}/training/{RUN}/checkpoint.safetensors",
        log=f"{RESULTS}/training/{RUN}/log.csv",
    log:
        f"{LOGS}/train/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/train/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_run_memory,
        runtime=4320,
        gpu=get_run_gpus,
    params:
        settings=get_target_settings,
        code=get_code("train"),
        trace=get_trace_option,
        dataset=get_dataset,
        options=get_run_options,
        config=get_config_file,
    message:
        "Training {wildcards.target}: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans.system.launch {resources.gpu} train --config {params.config} --phase training --target {wildcards.target}"
        " --seed {wildcards.seed} --teacher {input.teacher} --train-text {input.text} --dataset {params.dataset}"
        " --regions {input.regions} --subnetwork {input.subnetwork} {params.options} {params.trace} --output {output.checkpoint}"
        " --log {output.log} > {log} 2>&1"


rule evaluate_run:
    input:
        get_all_prepared(),
        teacher=TEACHER,
        checkpoint=f"{RESULTS}/training/{RUN}/checkpoint.safetensors",
        train_text=get_train_text,
        texts=get_benchmark_texts,
    output:
        metrics=[
            f"{RESULTS}/evaluations/{RUN}/{benchmark}.json"
            for benchmark in CONFIG.benchmarks
        ],
        confusions=[
            f"{RESULTS}/evaluations/{RUN}/{benchmark}.confusion.safetensors"
            for benchmark in CONFIG.benchmarks
        ],
    log:
        f"{LOGS}/evaluate_run/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/evaluate_run/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_run_memory,
        runtime=720,
        gpu=min(1, get_gpus("run")),
    params:
        settings=get_evaluation_settings,
        code=get_code("evaluate"),
        datasets=get_dataset_options,
        texts=get_text_options,
        folder=get_folder,
        config=get_config_file,
    message:
        "mIoU of {wildcards.target}: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans evaluate --config {params.config} --target {wildcards.target}"
        " --subnetwork {wildcards.subnetwork} --freeze {wildcards.freeze} --seed {wildcards.seed}"
        " --run {input.checkpoint} --teacher {input.teacher} --train-text {input.train_text}"
        " --datasets {params.datasets} --texts {params.texts} --output-dir {params.folder} > {log} 2>&1"
