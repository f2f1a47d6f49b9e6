rule plot_claims:
    input:
        claims=PROFILE.collected("claims"),
    output:
        mark_figures(CLAIM_FIGURES),
    log:
        PROFILE.log("plot_claims"),
    benchmark:
        PROFILE.job("plot_claims")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("profile"),
        code=hash_sources("plot-claims"),
        folder=get_folder,
        config=get_config_file,
    message:
        "All claims with effect, interval and verdict"
    shell:
        "python -m opentrans plot-claims --config {params.config:q} --claims {input.claims:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"


rule plot_results:
    input:
        results=COLLECTED["summary"],
        costs=FILES.get_costs(CONFIG.tables),
        experiments=EXPERIMENT_TABLE,
        paper=PAPER,
    output:
        mark_figures(FILES.result_figures),
    log:
        PROFILE.log("plot_results"),
    benchmark:
        PROFILE.job("plot_results")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("benchmarks", "figures.benchmark", "subnetworks"),
        code=hash_sources("plot-results"),
        folder=get_folder,
        config=get_config_file,
    message:
        "mIoU by subnetwork, against FLOPs and against density"
    shell:
        "python -m opentrans plot-results --config {params.config:q} --results {input.results:q} --costs {input.costs:q}"
        " --experiments {input.experiments:q} --paper {input.paper:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"


rule plot_subnetworks:
    input:
        layers=FILES.get_layers(CONFIG.tables),
        rounds=FILES.get_rounds(CONFIG.tables),
    output:
        mark_figures(SUBNETWORK_FIGURES),
    log:
        PROFILE.log("plot_subnetworks"),
    benchmark:
        PROFILE.job("plot_subnetworks")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("profile"),
        code=hash_sources("plot-subnetworks"),
        folder=get_folder,
        config=get_config_file,
    message:
        "Densities of the subnetworks"
    shell:
        "python -m opentrans plot-subnetworks --config {params.config:q} --layers {input.layers:q} --rounds {input.rounds:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"


rule plot_training:
    input:
        logs=FILES.get_training_logs(CONFIG.tables),
    output:
        mark_figures(TRAINING_FIGURES),
    log:
        PROFILE.log("plot_training"),
    benchmark:
        PROFILE.job("plot_training")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("profile"),
        code=hash_sources("plot-training"),
        folder=get_folder,
        config=get_config_file,
    message:
        "Training curves"
    shell:
        "python -m opentrans plot-training --config {params.config:q} --logs {input.logs:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"


rule predict_benchmark:
    input:
        DATA.prepared_files(CONFIG.figures.benchmark, "val"),
        teacher=RESULTS.teacher,
        checkpoint=RESULTS.checkpoint(),
        train_text=FILES.get_train_text,
        text=FILES.get_shown_text,
    output:
        maps=RESULTS.prediction(CONFIG.figures.benchmark),
    log:
        RESULTS.log(f"predict_benchmark/{RUN_JOB}"),
    benchmark:
        RESULTS.job(f"predict_benchmark/{RUN_JOB}")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_memory("run"),
        runtime=30,
        gpu=min(1, get_gpus("run")),
    params:
        settings=describe_architecture(
            "evaluation", "threads.run", "device", "benchmarks"
        ),
        shown=get_settings("figures"),
        code=hash_sources("predict-benchmark"),
        dataset=get_dataset,
        config=get_config_file,
    message:
        "Images as {wildcards.target} sees them: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans.system.launch {resources.gpu} predict-benchmark --config {params.config:q} --target {wildcards.target:q}"
        " --run {input.checkpoint:q} --teacher {input.teacher:q} --train-text {input.train_text:q}"
        " --dataset {params.dataset:q} --text {input.text:q} --output {output.maps:q} > {log:q} 2>&1"


rule plot_predictions:
    input:
        FILES.get_shown_data(),
        predictions=FILES.get_predictions(),
    output:
        mark_figures(IMAGE_FIGURES),
    log:
        PROFILE.log("plot_predictions"),
    benchmark:
        PROFILE.job("plot_predictions")
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=get_settings("figures"),
        code=hash_sources("plot-predictions"),
        dataset=get_dataset,
        folder=get_folder,
        config=get_config_file,
    message:
        "Images, ground truth and predictions"
    shell:
        "python -m opentrans plot-predictions --config {params.config:q} --dataset {params.dataset:q}"
        " --predictions {input.predictions:q} --output-dir {params.folder:q} > {log:q} 2>&1"
