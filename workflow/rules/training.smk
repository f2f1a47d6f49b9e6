rule warm_up:
    input:
        FILES.get_training_set(),
        teacher=RESULTS.teacher,
        regions=RESULTS.regions,
        text=FILES.get_train_text,
        subnetwork=RESULTS.subnetwork(),
        grounding=FILES.get_grounding,
    output:
        checkpoint=RESULTS.warm_up(),
        log=RESULTS.warm_up_log(),
    log:
        RESULTS.log(f"warm_up/{WARM_UP_JOB}"),
    benchmark:
        RESULTS.job(f"warm_up/{WARM_UP_JOB}")
    conda:
        "../envs/torch.yaml"
    threads: get_run_cores
    resources:
        mem_mb=get_memory("run"),
        runtime=limit_time(1440),
        gpu=get_run_gpus,
    params:
        settings=describe("targets.{target}", "threads.run", "device", "data"),
        code=hash_sources("train"),
        trace=make_trace_option(FILES.is_warm_up_traced),
        dataset=get_dataset,
        options=make_options(grounding="--grounding"),
        config=get_config_file,
    message:
        "Warm-up of {wildcards.target} with subnetwork {wildcards.subnetwork}, seed {wildcards.seed}"
    shell:
        "python -m opentrans.system.launch {resources.gpu} train --config {params.config:q} --phase warm-up --target {wildcards.target:q}"
        " --seed {wildcards.seed:q} --teacher {input.teacher:q} --train-text {input.text:q} --dataset {params.dataset:q}"
        " --regions {input.regions:q} --subnetwork {input.subnetwork:q} {params.options:q} {params.trace:q}"
        " --output {output.checkpoint:q} --log {output.log:q} > {log:q} 2>&1"


rule fit_alphas:
    input:
        weights=FILES.get_fitted_weights,
        subnetwork=FILES.get_fitted_subnetwork,
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
        code=hash_sources("fit-alphas"),
        prefix=FILES.get_weights_prefix,
        before=make_options(subnetwork="--before-mask"),
        config=get_config_file,
    message:
        "Alpha of {wildcards.target}, {wildcards.subnetwork} ({wildcards.fitted}, {wildcards.estimator}), seed {wildcards.seed}"
    shell:
        "python -m opentrans fit-alphas --config {params.config:q} --estimator {wildcards.estimator:q}"
        " --weights {input.weights:q} --prefix {params.prefix:q} {params.before:q} --output {output.alphas:q} > {log:q} 2>&1"


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
        settings=describe("freezing.{freeze}"),
        code=hash_sources("plan-freeze"),
        config=get_config_file,
    message:
        "Freeze plan {wildcards.freeze} of {wildcards.target}, {wildcards.subnetwork}, seed {wildcards.seed}"
    shell:
        "python -m opentrans plan-freeze --config {params.config:q} --recipe {wildcards.freeze:q} --seed {wildcards.seed:q}"
        " --alphas {input.alphas:q} --output {output.plan:q} > {log:q} 2>&1"


if CONFIG.short_jobs:

    rule train_and_evaluate:
        input:
            FILES.get_training_set(),
            FILES.get_prepared(),
            teacher=RESULTS.teacher,
            regions=RESULTS.regions,
            text=FILES.get_train_text,
            subnetwork=RESULTS.subnetwork(),
            start=FILES.get_warm_up,
            plan=FILES.get_plan,
            grounding=FILES.get_grounding,
            texts=FILES.get_benchmark_texts,
        output:
            checkpoint=RESULTS.checkpoint(),
            log=RESULTS.training_log(),
            metrics=[RESULTS.evaluation(benchmark) for benchmark in CONFIG.benchmarks],
            confusions=[RESULTS.confusion(benchmark) for benchmark in CONFIG.benchmarks],
        log:
            RESULTS.log(f"train_and_evaluate/{RUN_JOB}"),
        benchmark:
            RESULTS.job(f"train_and_evaluate/{RUN_JOB}")
        conda:
            "../envs/torch.yaml"
        threads: CONFIG.threads.run
        resources:
            mem_mb=get_memory("run"),
            runtime=60,
            gpu=min(1, get_gpus("run")),
        params:
            settings=describe(
                "targets.{target}",
                "threads.run",
                "device",
                "data",
                "evaluation",
                "benchmarks",
            ),
            code=[hash_sources("train"), hash_sources("evaluate")],
            trace=make_trace_option(FILES.is_traced),
            dataset=get_dataset,
            options=make_options(
                start="--start", plan="--plan", grounding="--grounding"
            ),
            datasets=name_benchmarks,
            texts=name_files("texts", CONFIG.benchmarks),
            folder=lambda wildcards, output: str(Path(output.metrics[0]).parent),
            config=get_config_file,
        message:
            "Training and mIoU of {wildcards.target}: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
        shell:
            "python -m opentrans.system.launch {resources.gpu} train --config {params.config:q} --phase training --target {wildcards.target:q}"
            " --seed {wildcards.seed:q} --teacher {input.teacher:q} --train-text {input.text:q} --dataset {params.dataset:q}"
            " --regions {input.regions:q} --subnetwork {input.subnetwork:q} {params.options:q} {params.trace:q} --output {output.checkpoint:q}"
            " --log {output.log:q} --then evaluate --config {params.config:q} --target {wildcards.target:q}"
            " --subnetwork {wildcards.subnetwork:q} --freeze {wildcards.freeze:q} --seed {wildcards.seed:q}"
            " --run {output.checkpoint:q} --teacher {input.teacher:q} --train-text {input.text:q}"
            " --datasets {params.datasets:q} --texts {params.texts:q} --output-dir {params.folder:q} > {log:q} 2>&1"

else:

    rule train:
        input:
            FILES.get_training_set(),
            teacher=RESULTS.teacher,
            regions=RESULTS.regions,
            text=FILES.get_train_text,
            subnetwork=RESULTS.subnetwork(),
            start=FILES.get_warm_up,
            plan=FILES.get_plan,
            grounding=FILES.get_grounding,
        output:
            checkpoint=RESULTS.checkpoint(),
            log=RESULTS.training_log(),
        log:
            RESULTS.log(f"train/{RUN_JOB}"),
        benchmark:
            RESULTS.job(f"train/{RUN_JOB}")
        conda:
            "../envs/torch.yaml"
        threads: get_run_cores
        resources:
            mem_mb=get_memory("run"),
            runtime=limit_time(4320),
            gpu=get_run_gpus,
        params:
            settings=describe("targets.{target}", "threads.run", "device", "data"),
            code=hash_sources("train"),
            trace=make_trace_option(FILES.is_traced),
            dataset=get_dataset,
            options=make_options(
                start="--start", plan="--plan", grounding="--grounding"
            ),
            config=get_config_file,
        message:
            "Training {wildcards.target}: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
        shell:
            "python -m opentrans.system.launch {resources.gpu} train --config {params.config:q} --phase training --target {wildcards.target:q}"
            " --seed {wildcards.seed:q} --teacher {input.teacher:q} --train-text {input.text:q} --dataset {params.dataset:q}"
            " --regions {input.regions:q} --subnetwork {input.subnetwork:q} {params.options:q} {params.trace:q} --output {output.checkpoint:q}"
            " --log {output.log:q} > {log:q} 2>&1"

    rule evaluate_run:
        input:
            FILES.get_prepared(),
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
            runtime=limit_time(720),
            gpu=min(1, get_gpus("run")),
        params:
            settings=describe_architecture(
                "evaluation", "threads.run", "device", "benchmarks"
            ),
            code=hash_sources("evaluate"),
            datasets=name_benchmarks,
            texts=name_files("texts", CONFIG.benchmarks),
            folder=get_folder,
            config=get_config_file,
        message:
            "mIoU of {wildcards.target}: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
        shell:
            "python -m opentrans.system.launch {resources.gpu} evaluate --config {params.config:q} --target {wildcards.target:q}"
            " --subnetwork {wildcards.subnetwork:q} --freeze {wildcards.freeze:q} --seed {wildcards.seed:q}"
            " --run {input.checkpoint:q} --teacher {input.teacher:q} --train-text {input.train_text:q}"
            " --datasets {params.datasets:q} --texts {params.texts:q} --output-dir {params.folder:q} > {log:q} 2>&1"
