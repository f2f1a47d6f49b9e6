rule compare_backbones:
    input:
        get_prepared(CONFIG.cka.benchmark, "val"),
        teacher=TEACHER,
        checkpoint=f"{RESULTS}/training/{RUN}/checkpoint.safetensors",
        text=get_train_text,
    output:
        cka=f"{RESULTS}/cka/{RUN}/cka.json",
    log:
        f"{LOGS}/compare_backbones/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/compare_backbones/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.run
    resources:
        mem_mb=get_run_memory,
        runtime=120,
        gpu=min(1, get_gpus("run")),
    params:
        settings=get_comparison_settings,
        code=get_code("compare-backbones"),
        dataset=get_dataset,
        config=get_config_file,
    message:
        "CKA of {wildcards.target} and CLIP: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans compare-backbones --config {params.config} --target {wildcards.target}"
        " --subnetwork {wildcards.subnetwork} --freeze {wildcards.freeze} --seed {wildcards.seed}"
        " --run {input.checkpoint} --teacher {input.teacher} --train-text {input.text} --dataset {params.dataset}"
        " --output {output.cka} > {log} 2>&1"
