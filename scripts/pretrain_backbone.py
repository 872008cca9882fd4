from atlas.cli.commands import run

if __name__ == "__main__":
    run("pretrain_backbone")
