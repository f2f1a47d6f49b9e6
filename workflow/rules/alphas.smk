rule trace_alphas:
    input:
        weights=get_traced_weights,
    output:
        trace=f"{RESULTS}/alphas/{RUN}/alphas.csv",
    log:
        f"{LOGS}/trace_alphas/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/trace_alphas/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=get_traced_iterations,
        code=get_code("trace-alphas"),
        weights=get_traced_options,
        config=SETTINGS,
    message:
        "Alpha of {wildcards.target} in training: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans trace-alphas --config {params.config} --weights {params.weights} --output {output.trace}"
        " > {log} 2>&1"


rule plot_alphas:
    input:
        alphas=get_traces(),
    output:
        mark_figures(ALPHA_FIGURES),
    log:
        f"{LOGS}/plot_alphas.log",
    benchmark:
        f"{JOBS}/plot_alphas.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("profile"),
        code=get_code("plot-alphas"),
        folder=get_folder,
        config=SETTINGS,
    message:
        "Alpha before, during and after fine-tuning"
    shell:
        "python -m opentrans plot-alphas --config {params.config} --alphas {input.alphas}"
        " --output-dir {params.folder} > {log} 2>&1"
