import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  Ctx,
  EventPattern,
  type MicroserviceOptions,
  Payload,
  type RmqContext,
  Transport,
} from '@nestjs/microservices';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { Column, Entity, Index, PrimaryGeneratedColumn, type Repository } from 'typeorm';

const { AMQP_URL = '', DATABASE_URL = '' } = process.env;
const prefetchCount = 100;

@Entity('readings')
@Index(['deviceId', 'ts'])
class Reading {
  @PrimaryGeneratedColumn('identity', { type: 'bigint' })
  id!: string;

  @Column('text', { name: 'device_id' })
  deviceId!: string;

  @Column('timestamptz')
  ts!: Date;

  @Column('jsonb')
  metrics!: object;
}

interface ReadingEvent {
  readonly deviceId: string;
  readonly ts: number;
  readonly metrics: object;
}

@Controller()
class ReadingsController {
  constructor(@InjectRepository(Reading) private readonly readings: Repository<Reading>) {}

  @EventPattern('reading')
  async store(@Payload() { deviceId, ts, metrics }: ReadingEvent, @Ctx() context: RmqContext) {
    await this.readings.save({ deviceId, ts: new Date(ts), metrics });
    context.getChannelRef().ack(context.getMessage());
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'postgres', url: DATABASE_URL, entities: [Reading], synchronize: true }),
    TypeOrmModule.forFeature([Reading]),
  ],
  controllers: [ReadingsController],
})
class StorerModule {}

const app = await NestFactory.createMicroservice<MicroserviceOptions>(StorerModule, {
  logger: ['error'],
  transport: Transport.RMQ,
  options: {
    urls: [AMQP_URL],
    queue: 'readings',
    queueOptions: { durable: true },
    noAck: false,
    prefetchCount,
  },
});
app.enableShutdownHooks();
await app.listen();
console.log('ready');
