rule find_subnetwork:
    input:
        get_prepared(*TRAINING_SET),
        teacher=TEACHER,
        regions=REGIONS,
        text=f"{TEXTS}/plain/coco_train.safetensors",
        match=get_match,
    output:
        subnetwork=f"{RESULTS}/subnetworks/{{subnetwork}}/seed{{seed}}/subnetwork.safetensors",
        rounds=f"{RESULTS}/subnetworks/{{subnetwork}}/seed{{seed}}/rounds.csv",
        layers=f"{RESULTS}/subnetworks/{{subnetwork}}/seed{{seed}}/layers.csv",
    log:
        f"{LOGS}/find_subnetwork/{{subnetwork}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/find_subnetwork/{{subnetwork}}_seed{{seed}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.subnetwork
    resources:
        mem_mb=get_search_memory,
        runtime=2880,
        gpu=get_gpus("subnetwork"),
    params:
        settings=get_recipe,
        code=get_code("find-subnetwork"),
        dataset=get_dataset,
        match=get_match_option,
        config=get_config_file,
    message:
        "Subnetwork {wildcards.subnetwork}, seed {wildcards.seed}"
    shell:
        "python -m opentrans.system.launch {resources.gpu} find-subnetwork --config {params.config} --recipe {wildcards.subnetwork}"
        " --seed {wildcards.seed} --teacher {input.teacher} --dataset {params.dataset} --regions {input.regions}"
        " --text {input.text} {params.match} --output {output.subnetwork} --log {output.rounds}"
        " --layers {output.layers} > {log} 2>&1"
