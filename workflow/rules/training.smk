def format_trace_option(traced):
    """The command-line option for a training whose alpha is followed."""
    return ["--trace-points", str(CONFIG.traces.points)] if traced else []


def get_warm_up_trace_option(wildcards):
    """The command-line option for a warm-up that a traced run continues."""
    return format_trace_option(FILES.is_warm_up_traced(wildcards))


rule warm_up:
    input:
        FILES.training_set,
        teacher=RESULTS.teacher,
        regions=RESULTS.regions,
        text=FILES.get_train_text,
        subnetwork=RESULTS.subnetwork(),
    output:
        checkpoint=RESULTS.warm_up(),
        log=RESULTS.warm_up_log(),
    log:
        RESULTS.log(f"warm_up/{WARM_UP_JOB}"),
    benchmark:
        RESULTS.job(f"warm_up/{WARM_UP_JOB}")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_memory("run"),
        runtime=1440,
        gpu=get_run_gpus,
    params:
        settings=get_target_settings,
        code=get_code("train"),
        trace=get_warm_up_trace_option,
        dataset=get_dataset,
        config=get_config_file,
    message:
        "Warm-up of {wildcards.target} with subnetwork {wildcards.subnetwork}, seed {wildcards.seed}"
    shell:
        "python -m opentrans.system.launch {resources.gpu} train --config {params.config:q} --phase warm-up --target {wildcards.target:q}"
        " --seed {wildcards.seed:q} --teacher {input.teacher:q} --train-text {input.text:q} --dataset {params.dataset:q}"
        " --regions {input.regions:q} --subnetwork {input.subnetwork:q} {params.trace:q} --output {output.checkpoint:q} --log {output.log:q}"
        " > {log:q} 2>&1"


def get_fitted_subnetwork(wildcards):
    """The subnetwork that holds the removed weights, where alpha is that of the weights before the mask."""
    return FILES.get_removed_weights(wildcards, wildcards.fitted)


def get_weights_prefix(wildcards):
    """Where the backbone's weights lie in the file that alpha is fitted to."""
    return "model.backbone." if FILES.get_shared_warm_up(wildcards) else "weight."


rule fit_alphas:
    input:
        weights=FILES.get_fitted_weights,
        subnetwork=get_fitted_subnetwork,
    output:
        alphas=RESULTS.fit(),
    log:
        RESULTS.log(f"fit_alphas/{FIT_JOB}"),
    benchmark:
        RESULTS.job(f"fit_alphas/{FIT_JOB}")
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
        "python -m opentrans fit-alphas --config {params.config:q} --estimator {wildcards.estimator:q}"
        " --weights {input.weights:q} --prefix {params.prefix:q} {params.before:q} --output {output.alphas:q} > {log:q} 2>&1"


def get_freeze_settings(wildcards):
    """The settings behind a freeze plan."""
    return get_settings(f"freezing.{wildcards.freeze}")


rule plan_freeze:
    input:
        alphas=FILES.get_fit,
    output:
        plan=RESULTS.freeze_plan(),
    log:
        RESULTS.log(f"plan_freeze/{RUN_JOB}"),
    benchmark:
        RESULTS.job(f"plan_freeze/{RUN_JOB}")
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
        "python -m opentrans plan-freeze --config {params.config:q} --recipe {wildcards.freeze:q} --seed {wildcards.seed:q}"
        " --alphas {input.alphas:q} --output {output.plan:q} > {log:q} 2>&1"


def get_run_options(wildcards, input):
    """The command-line options for the files that only some runs have."""
    start = ["--start", *input.start] if input.start else []
    return start + get_plan_option(wildcards, input)


def get_trace_option(wildcards):
    """The command-line option for a run that is traced."""
    return format_trace_option(FILES.is_traced(wildcards))


rule train:
    input:
        FILES.training_set,
        teacher=RESULTS.teacher,
        regions=RESULTS.regions,
        text=FILES.get_train_text,
        subnetwork=RESULTS.subnetwork(),
        start=FILES.get_warm_up,
        plan=FILES.get_plan,
    output:
        checkpoint=RESULTS.checkpoint(),
        log=RESULTS.training_log(),
    log:
        RESULTS.log(f"train/{RUN_JOB}"),
    benchmark:
        RESULTS.job(f"train/{RUN_JOB}")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_memory("run"),
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
        "python -m opentrans.system.launch {resources.gpu} train --config {params.config:q} --phase training --target {wildcards.target:q}"
        " --seed {wildcards.seed:q} --teacher {input.teacher:q} --train-text {input.text:q} --dataset {params.dataset:q}"
        " --regions {input.regions:q} --subnetwork {input.subnetwork:q} {params.options:q} {params.trace:q} --output {output.checkpoint:q}"
        " --log {output.log:q} > {log:q} 2>&1"


def get_dataset_options(wildcards, input):
    """Benchmark=folder pairs of the prepared benchmarks."""
    return [f"{name}={DATA.prepared(name, 'val')}" for name in CONFIG.benchmarks]


def get_text_options(wildcards, input):
    """Benchmark=file pairs of their embeddings."""
    pairs = zip(CONFIG.benchmarks, input.texts, strict=True)
    return [f"{benchmark}={path}" for benchmark, path in pairs]


rule evaluate_run:
    input:
        FILES.prepared,
        teacher=RESULTS.teacher,
        checkpoint=RESULTS.checkpoint(),
        train_text=FILES.get_train_text,
        texts=FILES.get_benchmark_texts,
    output:
        metrics=[RESULTS.evaluation(benchmark) for benchmark in CONFIG.benchmarks],
        confusions=[RESULTS.confusion(benchmark) for benchmark in CONFIG.benchmarks],
    log:
        RESULTS.log(f"evaluate_run/{RUN_JOB}"),
    benchmark:
        RESULTS.job(f"evaluate_run/{RUN_JOB}")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_memory("run"),
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
        "python -m opentrans evaluate --config {params.config:q} --target {wildcards.target:q}"
        " --subnetwork {wildcards.subnetwork:q} --freeze {wildcards.freeze:q} --seed {wildcards.seed:q}"
        " --run {input.checkpoint:q} --teacher {input.teacher:q} --train-text {input.train_text:q}"
        " --datasets {params.datasets:q} --texts {params.texts:q} --output-dir {params.folder:q} > {log:q} 2>&1"
