rule plot_results:
    input:
        results=f"{RESULTS}/results.csv",
        costs=get_costs(),
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
        config=SETTINGS,
    message:
        "mIoU by subnetwork, against FLOPs and against density"
    shell:
        "python -m opentrans plot-results --config {params.config} --results {input.results} --costs {input.costs} --paper {input.paper}"
        " --output-dir {params.folder} > {log} 2>&1"


rule plot_subnetworks:
    input:
        layers=get_subnetworks("layers.csv"),
        rounds=get_subnetworks("rounds.csv"),
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
        config=SETTINGS,
    message:
        "Densities of the subnetworks"
    shell:
        "python -m opentrans plot-subnetworks --config {params.config} --layers {input.layers} --rounds {input.rounds}"
        " --output-dir {params.folder} > {log} 2>&1"


rule plot_training:
    input:
        logs=get_training_logs(),
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
        config=SETTINGS,
    message:
        "Training curves"
    shell:
        "python -m opentrans plot-training --config {params.config} --logs {input.logs}"
        " --output-dir {params.folder} > {log} 2>&1"
