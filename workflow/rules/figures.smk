rule plot_results:
    input:
        results=COLLECTED["summary"],
        costs=get_costs(CONFIG.tables),
        paper=PAPER,
    output:
        mark_figures(RESULT_FIGURES),
    log:
        f"{LOGS}/plot_results.log",
    benchmark:
        f"{JOBS}/plot_results.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("benchmarks", "figures.benchmark", "subnetworks"),
        code=get_code("plot-results"),
        folder=get_folder,
        config=get_config_file,
    message:
        "mIoU by subnetwork, against FLOPs and against density"
    shell:
        "python -m opentrans plot-results --config {params.config} --results {input.results} --costs {input.costs} --paper {input.paper}"
        " --output-dir {params.folder} > {log} 2>&1"


rule plot_subnetworks:
    input:
        layers=get_subnetworks("layers.csv", CONFIG.tables),
        rounds=get_subnetworks("rounds.csv", CONFIG.tables),
    output:
        mark_figures(SUBNETWORK_FIGURES),
    log:
        f"{LOGS}/plot_subnetworks.log",
    benchmark:
        f"{JOBS}/plot_subnetworks.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("profile"),
        code=get_code("plot-subnetworks"),
        folder=get_folder,
        config=get_config_file,
    message:
        "Densities of the subnetworks"
    shell:
        "python -m opentrans plot-subnetworks --config {params.config} --layers {input.layers} --rounds {input.rounds}"
        " --output-dir {params.folder} > {log} 2>&1"


rule plot_training:
    input:
        logs=get_training_logs(CONFIG.tables),
    output:
        mark_figures(TRAINING_FIGURES),
    log:
        f"{LOGS}/plot_training.log",
    benchmark:
        f"{JOBS}/plot_training.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("profile"),
        code=get_code("plot-training"),
        folder=get_folder,
        config=get_config_file,
    message:
        "Training curves"
    shell:
        "python -m opentrans plot-training --config {params.config} --logs {input.logs}"
        " --output-dir {params.folder} > {log} 2>&1"


rule predict_benchmark:
    input:
        get_prepared(CONFIG.figures.benchmark, "val"),
        teacher=TEACHER,
        checkpoint=f"{RESULTS}/training/{RUN}/checkpoint.safetensors",
        train_text=get_train_text,
        text=get_shown_text,
    output:
        maps=f"{RESULTS}/predictions/{RUN}/{CONFIG.figures.benchmark}.safetensors",
    log:
        f"{LOGS}/predict_benchmark/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/predict_benchmark/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_run_memory,
        runtime=30,
        gpu=min(1, get_gpus("run")),
    params:
        settings=get_evaluation_settings,
        shown=get_settings("figures"),
        code=get_code("predict-benchmark"),
        dataset=get_dataset,
        config=get_config_file,
    message:
        "Images as {wildcards.target} sees them: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans predict-benchmark --config {params.config} --target {wildcards.target}"
        " --run {input.checkpoint} --teacher {input.teacher} --train-text {input.train_text}"
        " --dataset {params.dataset} --text {input.text} --output {output.maps} > {log} 2>&1"


rule plot_predictions:
    input:
        get_prepared(CONFIG.figures.benchmark, "val"),
        predictions=get_predictions(),
    output:
        mark_figures(IMAGE_FIGURES),
    log:
        f"{LOGS}/plot_predictions.log",
    benchmark:
        f"{JOBS}/plot_predictions.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=get_settings("figures"),
        code=get_code("plot-predictions"),
        dataset=get_dataset,
        folder=get_folder,
        config=get_config_file,
    message:
        "Images, ground truth and predictions"
    shell:
        "python -m opentrans plot-predictions --config {params.config} --dataset {params.dataset}"
        " --predictions {input.predictions} --output-dir {params.folder} > {log} 2>&1"
