rule trace_alphas:
    input:
        run=RESULTS.checkpoint(),
        subnetwork=FILES.get_traced_subnetwork,
    output:
        trace=RESULTS.alphas(),
    log:
        RESULTS.log(f"trace_alphas/{RUN_JOB}"),
    benchmark:
        RESULTS.job(f"trace_alphas/{RUN_JOB}")
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=get_settings("threads.run"),
        code=hash_sources("trace-alphas"),
        estimator=CONFIG.traces.estimator,
        before=make_options(subnetwork="--before-mask"),
        config=get_config_file,
    message:
        "Alpha of {wildcards.target} in training: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans trace-alphas --config {params.config:q} --estimator {params.estimator:q} --run {input.run:q}"
        " {params.before:q} --output {output.trace:q} > {log:q} 2>&1"


rule plot_alphas:
    input:
        alphas=FILES.get_traces(),
    output:
        mark_figures(ALPHA_FIGURES),
    log:
        PROFILE.log("plot_alphas"),
    benchmark:
        PROFILE.job("plot_alphas")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("profile"),
        code=hash_sources("plot-alphas"),
        folder=get_folder,
        config=get_config_file,
    message:
        "Alpha before, during and after fine-tuning"
    shell:
        "python -m opentrans plot-alphas --config {params.config:q} --alphas {input.alphas:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"
