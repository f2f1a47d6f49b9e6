rule trace_alphas:
    input:
        run=f"{RESULTS}/training/{RUN}/checkpoint.safetensors",
        subnetwork=get_traced_subnetwork,
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
        settings=get_settings("threads.run"),
        code=get_code("trace-alphas"),
        estimator=CONFIG.traces.estimator,
        before=get_before_mask_option,
        config=get_config_file,
    message:
        "Alpha of {wildcards.target} in training: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans trace-alphas --config {params.config} --estimator {params.estimator} --run {input.run}"
        " {params.before} --output {output.trace} > {log} 2>&1"


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
        config=get_config_file,
    message:
        "Alpha before, during and after fine-tuning"
    shell:
        "python -m opentrans plot-alphas --config {params.config} --alphas {input.alphas}"
        " --output-dir {params.folder} > {log} 2>&1"
