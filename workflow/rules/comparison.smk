rule compare_backbones:
    input:
        DATA.prepared_files(CONFIG.cka.benchmark, "val"),
        teacher=RESULTS.teacher,
        checkpoint=RESULTS.checkpoint(),
        text=FILES.get_train_text,
    output:
        cka=RESULTS.cka(),
    log:
        RESULTS.log(f"compare_backbones/{RUN_JOB}"),
    benchmark:
        RESULTS.job(f"compare_backbones/{RUN_JOB}")
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_memory("run"),
        runtime=limit_time(120),
        gpu=min(1, get_gpus("run")),
    params:
        settings=describe_architecture("cka", "threads.run", "device"),
        code=hash_sources("compare-backbones"),
        dataset=get_dataset,
        config=get_config_file,
    message:
        "CKA of {wildcards.target} and CLIP: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans.system.launch {resources.gpu} compare-backbones --config {params.config:q} --target {wildcards.target:q}"
        " --subnetwork {wildcards.subnetwork:q} --freeze {wildcards.freeze:q} --seed {wildcards.seed:q}"
        " --run {input.checkpoint:q} --teacher {input.teacher:q} --train-text {input.text:q} --dataset {params.dataset:q}"
        " --output {output.cka:q} > {log:q} 2>&1"
