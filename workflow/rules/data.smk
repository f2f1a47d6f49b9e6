rule make_world:
    output:
        manifest=f"{WORLD}/manifest.json",
    log:
        f"{LOGS}/make_world.log",
    benchmark:
        f"{JOBS}/make_world.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings("world"),
        code=get_code("make-world"),
        folder=get_folder,
        config=get_config_file,
    message:
        "Drawing the mini world in the official layouts"
    shell:
        "python -m opentrans make-world --config {params.config} --output {params.folder} > {log} 2>&1"


rule prepare_dataset:
    input:
        get_world(),
    output:
        stats=f"{PREPARED}/{{dataset}}/{{split}}/stats.json",
        index=f"{PREPARED}/{{dataset}}/{{split}}/index.csv",
        vocabulary=f"{PREPARED}/{{dataset}}/{{split}}/vocabulary.json",
    log:
        f"{LOGS}/prepare_dataset/{{dataset}}_{{split}}.log",
    benchmark:
        f"{JOBS}/prepare_dataset/{{dataset}}_{{split}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.threads.prepare
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=get_settings("data"),
        code=get_code("prepare"),
        folder=get_folder,
        config=get_config_file,
    message:
        "Preparing {wildcards.dataset} {wildcards.split}"
    shell:
        "python -m opentrans prepare --config {params.config} --dataset {wildcards.dataset} --split {wildcards.split}"
        " --workers {threads} --output {params.folder} > {log} 2>&1"
