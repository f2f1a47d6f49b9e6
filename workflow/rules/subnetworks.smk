rule find_subnetwork:
    input:
        FILES.get_training_set(),
        teacher=RESULTS.teacher,
        regions=RESULTS.regions,
        text=RESULTS.text(SEARCH_PROMPTS, *TRAINING_SET),
        match=FILES.get_match,
    output:
        subnetwork=RESULTS.subnetwork(),
        rounds=RESULTS.rounds(),
        layers=RESULTS.layers(),
    log:
        RESULTS.log(f"find_subnetwork/{SUBNETWORK_JOB}"),
    benchmark:
        RESULTS.job(f"find_subnetwork/{SUBNETWORK_JOB}")
    conda:
        "../envs/torch.yaml"
    threads: get_search_cores
    resources:
        mem_mb=lambda wildcards, attempt: (
            get_memory("subnetwork")(wildcards, attempt)
            if needs_gpu(wildcards)
            else 8000
        ),
        runtime=lambda wildcards: limit_time(2880) if needs_gpu(wildcards) else 30,
        gpu=get_search_gpus,
    params:
        settings=describe(
            "subnetworks.{subnetwork}", "threads.subnetwork", "device", "data"
        ),
        code=hash_sources("find-subnetwork"),
        dataset=get_dataset,
        match=make_options(match="--match"),
        config=get_config_file,
    message:
        "Subnetwork {wildcards.subnetwork}, seed {wildcards.seed}"
    shell:
        "python -m opentrans.system.launch {resources.gpu} find-subnetwork --config {params.config:q} --recipe {wildcards.subnetwork:q}"
        " --seed {wildcards.seed:q} --teacher {input.teacher:q} --dataset {params.dataset:q} --regions {input.regions:q}"
        " --text {input.text:q} {params.match:q} --output {output.subnetwork:q} --log {output.rounds:q}"
        " --layers {output.layers:q} > {log:q} 2>&1"
